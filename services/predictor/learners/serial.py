"""Executors for independent jobs: serial here, one process per core in processes.py."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol, TypeVar

T = TypeVar("T")


class Run(Protocol):
    """Runs jobs in any order, reports the number finished after each, and returns the results in the jobs' order."""

    def __call__(self, jobs: Sequence[Callable[[], T]], done: Callable[[int], None] = ...) -> list[T]: ...


def quietly(_: int) -> None:
    """Discards the progress."""


def one_by_one(jobs: Sequence[Callable[[], T]], done: Callable[[int], None] = quietly) -> list[T]:
    found = []
    for count, job in enumerate(jobs, start=1):
        found.append(job())
        done(count)
    return found
