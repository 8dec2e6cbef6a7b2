"""Executors for independent jobs: serial here, one process per core in processes.py."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol, TypeVar

T = TypeVar("T")


class Executor(Protocol):
    """Runs jobs in any order, reports the number finished after each, and returns the results in the jobs' order."""

    def __call__(self, jobs: Sequence[Callable[[], T]], on_done: Callable[[int], None] = ...) -> list[T]: ...


def ignore_progress(_: int) -> None:
    """Discards the progress."""


def serial_executor(jobs: Sequence[Callable[[], T]], on_done: Callable[[int], None] = ignore_progress) -> list[T]:
    results = []
    for count, job in enumerate(jobs, start=1):
        results.append(job())
        on_done(count)
    return results
