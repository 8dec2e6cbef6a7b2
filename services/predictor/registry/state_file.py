"""`<models>/states.json`: what each model is, replaced whole under a lock. Several processes may write at once.

Nothing here knows torch: whoever only asks whether a model is live does not pay for it.
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

from services.predictor.registry.states import FORMAT, Book
from shared.errors import ConfigError
from shared.records import reason_of

STATES, LOCK = "states.json", ".lock"


def has_live(models_dir: Path) -> bool:
    """Whether there is a model to predict with; cheap enough to ask every second. Raises ConfigError: damaged."""
    return read(models_dir).live is not None


def changed_ns(models_dir: Path) -> int | None:
    """When any model's state last changed, as a number that grows with every change; None: none ever did."""
    try:
        return (models_dir / STATES).stat().st_mtime_ns
    except FileNotFoundError:
        return None


def read(models_dir: Path) -> Book:
    """Empty where there is none yet. Raises ConfigError that says what to do."""
    file = models_dir / STATES
    try:
        body = file.read_bytes()
    except FileNotFoundError:
        return Book()
    except OSError as error:
        raise ConfigError(f"cannot read {file}: {error.strerror}") from error
    try:
        return Book.model_validate_json(body)
    except ValidationError as error:
        raise ConfigError(
            f"{file} is damaged, or of another version than {FORMAT}: {reason_of(error)}; put a copy back, or delete it"
            " and promote a model (the models themselves are not in it)"
        ) from error


def change(models_dir: Path, step: Callable[[Book], Book], request: str | None = None) -> tuple[Book, Book]:
    """Before and after a step, which nobody else's falls into; one whose `request` was done before does nothing."""
    with locked(models_dir):
        before = read(models_dir)
        after = before if before.has_done(request) else step(before)
        if after != before:
            _replace(models_dir, after)
    return before, after


@contextmanager
def locked(models_dir: Path) -> Iterator[None]:
    """One writer at a time, of all processes; a lock ends with its process, however that ends. Not reentrant."""
    models_dir.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(models_dir / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _replace(models_dir: Path, book: Book) -> None:
    """Under the lock: the name of the new file is nobody else's, so what a killed process left is written over."""
    file, new = models_dir / STATES, models_dir / f".{STATES}"
    write(new, orjson.dumps(book.model_dump(mode="json"), option=orjson.OPT_INDENT_2))
    last = changed_ns(models_dir) or 0
    # A clock that stands still or was set back must not hide a change from those who look at the time.
    now = max(time.time_ns(), last + 1_000_000)
    os.utime(new, ns=(now, now))
    new.replace(file)
    sync_directory(models_dir)


def write(file: Path, content: bytes) -> None:
    """On the disk when it returns."""
    with file.open("wb") as opened:
        opened.write(content)
        opened.flush()
        os.fsync(opened.fileno())


def sync_directory(directory: Path) -> None:
    """So that a rename in it outlives a loss of power."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
