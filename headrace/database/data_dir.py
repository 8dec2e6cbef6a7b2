"""Defines the layout of the data directory, its admin token, and the lock that allows only one run at a time."""

from __future__ import annotations

import fcntl
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from shared.errors import ConfigError


@dataclass(frozen=True)
class DataDir:
    """Paths in a data directory. Only `create`, `create_token` and `run_lock` create files."""

    path: Path

    @property
    def token_file(self) -> Path:
        return self.path / "token"

    @property
    def secrets(self) -> Path:
        return self.path / "secrets"

    @property
    def last_run(self) -> Path:
        """Failed windows and dead letters of the last run, for `headrace status` while the database is down."""
        return self.path / "last-run.json"

    def log(self, name: str) -> Path:
        return self.path / "logs" / f"{name}.log"

    def create(self) -> None:
        """Create the directory. Raises ConfigError that names the cause."""
        try:
            self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
            self.secrets.mkdir(mode=0o700, exist_ok=True)
        except OSError as error:
            raise ConfigError(
                f"cannot use the data directory {self.path} ({error.strerror}); choose another with --data-dir"
            ) from error

    def create_token(self) -> Path:
        """The file of the admin token of this machine's services. Creates it once, readable only by its owner."""
        if not self.token_file.exists():
            write_private(self.token_file, secrets.token_urlsafe(32) + "\n")
        return self.token_file

    @contextmanager
    def run_lock(self) -> Iterator[None]:
        """Hold the lock of this directory's `headrace run`. Raises ConfigError if another process holds it."""
        descriptor = os.open(self.path / "run.lock", os.O_RDWR | os.O_CREAT, 0o600)
        with os.fdopen(descriptor, "r+") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise ConfigError(
                    f"another `headrace run` (pid {lock.read().strip() or 'unknown'}) uses {self.path};"
                    " stop it, or use another --data-dir for this one"
                ) from None
            lock.truncate(0)
            lock.write(f"{os.getpid()}\n")
            lock.flush()
            yield
            lock.truncate(0)


def write_private(file: Path, text: str) -> None:
    """Write a file atomically. It is never readable by other users."""
    partial = file.with_name(f".{file.name}.{os.getpid()}")
    partial.unlink(missing_ok=True)
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as out:
        out.write(text)
    partial.replace(file)
