"""Reads and replaces `<models>/states.json`, the states of all models. Several processes may write at once.

A change replaces the whole file under a lock. The module does not import torch, so that a process which only needs to
know whether a model is live starts quickly.
"""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import orjson
from pydantic import ValidationError

from services.predictor.registry.states import FORMAT, RegistryState
from shared.errors import ConfigError
from shared.records import reason_of

STATES, LOCK = "states.json", ".lock"


def has_live(models_dir: Path) -> bool:
    """Whether a model is live; cheap enough to call every second. Raises ConfigError if the file is damaged."""
    return read(models_dir).live is not None


def changed_ns(models_dir: Path) -> int | None:
    """Time of the last change of any state in ns; it grows with every change. None if there was no change."""
    try:
        return (models_dir / STATES).stat().st_mtime_ns
    except FileNotFoundError:
        return None


def read(models_dir: Path) -> RegistryState:
    """Empty if there is no file. Raises ConfigError that says what to do."""
    file = models_dir / STATES
    try:
        body = file.read_bytes()
    except FileNotFoundError:
        return RegistryState()
    except OSError as error:
        raise ConfigError(f"cannot read {file}: {error.strerror}") from error
    try:
        return RegistryState.model_validate_json(body)
    except ValidationError as error:
        raise ConfigError(
            f"{file} is damaged, or of another version than {FORMAT}: {reason_of(error)}; restore a copy, or delete it"
            " and promote a model (it does not contain the models themselves)"
        ) from error


def change(
    models_dir: Path, step: Callable[[RegistryState], RegistryState], request: str | None = None
) -> tuple[RegistryState, RegistryState]:
    """Applies a step under the lock; returns the states before and after. A `request` applied before does nothing."""
    with locked(models_dir):
        before = read(models_dir)
        after = before if before.has_applied(request) else step(before)
        if after != before:
            _replace(models_dir, after)
    return before, after


@contextmanager
def locked(models_dir: Path) -> Iterator[None]:
    """One writer at a time, across processes. The lock ends with its process, even a killed one. Not reentrant."""
    models_dir.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(models_dir / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _replace(models_dir: Path, registry: RegistryState) -> None:
    """Call only under the lock, which reserves the name of the new file: a killed process's leftover is overwritten."""
    file, temporary = models_dir / STATES, models_dir / f".{STATES}"
    write(temporary, orjson.dumps(registry.model_dump(mode="json"), option=orjson.OPT_INDENT_2))
    last = changed_ns(models_dir) or 0
    # A clock that stopped or was set back must not hide a change from readers that compare times.
    modified_ns = max(time.time_ns(), last + 1_000_000)
    os.utime(temporary, ns=(modified_ns, modified_ns))
    temporary.replace(file)
    sync_directory(models_dir)


def write(file: Path, content: bytes) -> None:
    """Writes and syncs: the content is on the disk when it returns."""
    with file.open("wb") as opened:
        opened.write(content)
        opened.flush()
        os.fsync(opened.fileno())


def sync_directory(directory: Path) -> None:
    """Makes a rename in the directory survive a power failure."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
