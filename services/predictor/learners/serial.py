"""Independent pieces of work and whoever does them: one by one here, side by side in side_by_side.py."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol, TypeVar

T = TypeVar("T")


class Run(Protocol):
    """Does jobs in any order, says each time how many are done, and gives their results in the order of the jobs."""

    def __call__(self, jobs: Sequence[Callable[[], T]], done: Callable[[int], None] = ...) -> list[T]: ...


def quietly(_: int) -> None:
    """Nobody is told how many are done."""


def one_by_one(jobs: Sequence[Callable[[], T]], done: Callable[[int], None] = quietly) -> list[T]:
    found = []
    for count, job in enumerate(jobs, start=1):
        found.append(job())
        done(count)
    return found
