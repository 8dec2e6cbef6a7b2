"""The data directory of one Headrace: where its things lie, its token, and the lock of the one run that may use it."""

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
    """Paths only; nothing is made before it is asked for."""

    path: Path

    @property
    def token_file(self) -> Path:
        return self.path / "token"

    @property
    def secrets(self) -> Path:
        return self.path / "secrets"

    @property
    def last_run(self) -> Path:
        """What the last run found wrong, for `headrace status` when nothing runs."""
        return self.path / "last-run.json"

    def log(self, name: str) -> Path:
        return self.path / "logs" / f"{name}.log"

    def make(self) -> None:
        try:
            self.secrets.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise ConfigError(
                f"cannot use the data directory {self.path} ({error.strerror}); choose another with --data-dir"
            ) from error

    def make_token(self) -> Path:
        """The admin token of this machine's services, made once, readable by its owner only."""
        if not self.token_file.exists():
            write_private(self.token_file, secrets.token_urlsafe(32) + "\n")
        return self.token_file

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Held by the one `run` of this directory. Raises ConfigError when another one holds it."""
        descriptor = os.open(self.path / "run.lock", os.O_RDWR | os.O_CREAT, 0o600)
        with os.fdopen(descriptor, "r+") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise ConfigError(
                    f"another `headrace run` (pid {lock.read().strip() or 'unknown'}) uses {self.path};"
                    " stop it, or give this one a --data-dir of its own"
                ) from None
            lock.truncate(0)
            lock.write(f"{os.getpid()}\n")
            lock.flush()
            yield
            lock.truncate(0)


def write_private(file: Path, text: str) -> None:
    """Whole or not at all, and never readable by others, not even for a moment."""
    partial = file.with_name(f".{file.name}.{os.getpid()}")
    partial.unlink(missing_ok=True)
    descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as out:
        out.write(text)
    partial.replace(file)
