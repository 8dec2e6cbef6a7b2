"""Retries calls with growing, capped, jittered delays and a limit on the total time.

Not stamina or tenacity, because here the clock, the sleep and the random numbers are arguments: a stopping service ends
the sleep at once, and tests do not sleep. Only TransientError, or the given subclass of it, is retried.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import ParamSpec, TypeVar

from shared.backoff import Backoff
from shared.errors import TransientError

P = ParamSpec("P")
R = TypeVar("R")


@dataclass(frozen=True)
class Retry:
    """At most `tries` calls. The n-th delay is first_delay_s * factor ** (n - 1), at most max_delay_s.

    `jitter` is the share of a delay that is random: with 0.5, a delay of 4 s becomes 2 to 4 s. No try starts later than
    `total_s` after the first. `retryable` is the class of errors that are retried. `on_first_failure` is called with
    the first error of a call if another try follows.
    """

    tries: int = 5
    first_delay_s: float = 0.2
    factor: float = 2.0
    max_delay_s: float = 10.0
    jitter: float = 0.5
    total_s: float = 30.0
    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], object] = time.sleep
    random: Callable[[], float] = random.random
    retryable: type[TransientError] = TransientError
    on_first_failure: Callable[[TransientError], object] = lambda _: None

    def __post_init__(self) -> None:
        if self.tries < 1 or self.factor < 1 or not 0 <= self.jitter <= 1:
            raise ValueError("expected tries >= 1, factor >= 1 and jitter from 0 to 1")
        if min(self.first_delay_s, self.max_delay_s, self.total_s) < 0:
            raise ValueError("expected delays of 0 or more")

    def call(self, function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
        """Returns the result of `function`. If all tries fail, raises the last error with the number of tries."""
        started_s = self.clock()
        for attempt in range(1, self.tries + 1):
            try:
                return function(*args, **kwargs)
            except self.retryable as error:
                delay_s = self.delay_s(attempt)
                elapsed_s = self.clock() - started_s
                if attempt == self.tries or elapsed_s + delay_s > self.total_s:
                    tries = "1 try" if attempt == 1 else f"{attempt} tries"
                    raise self.retryable(f"{error} ({tries} in {elapsed_s:.1f} s)") from error
                if attempt == 1:
                    self.on_first_failure(error)
            self.sleep(delay_s)
        raise AssertionError("the last try returns or raises")

    def delay_s(self, attempt: int) -> float:
        """The delay after this failed attempt, counted from 1."""
        return Backoff(self.first_delay_s, self.max_delay_s, self.factor, self.jitter, self.random).delay_s(attempt)
