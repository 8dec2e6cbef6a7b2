"""What a back-test was asked for, checked before anything takes long; and a clock that says what takes how long."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from headrace.backtest.archive import recorded_days
from services.fetcher.planning.coverage import DAY, coverage_of, coverage_text
from services.predictor.backtest.walk_forward import Spans
from services.predictor.training.hyperparameters import Training
from shared.errors import ConfigError

Say = Callable[[str], None]


@dataclass(frozen=True)
class Wish:
    """`model`: a version in `models_dir` to judge instead of one that is trained for it. `training`: None takes what
    the number of events asks for. `workers`: None takes one process a core."""

    spans: Spans
    archive: Path
    out: Path
    pictures: Path
    models_dir: Path
    seed: int = 7
    ablation: bool = True
    references: bool = True
    model: str | None = None
    save_model: bool = False
    bet_on_every_event: bool = True
    workers: int | None = None
    training: Training | None = None

    def check(self) -> dict[str, str]:
        """How many days of each span have a file, as lines of the report.

        Raises ConfigError for everything that can be wrong, before anything takes long.
        """
        self.spans.check()
        if not self.out.parent.is_dir():
            raise ConfigError(f"--out {self.out}: there is no folder {self.out.parent}")
        if self.out.is_dir():
            raise ConfigError(f"--out {self.out}: a folder; name a file")
        days, spans = recorded_days(self.archive), self.spans
        if spans.train_to < days[0]:
            raise ConfigError(f"--train-to {spans.train_to}: the archive begins on {days[0]}")
        return {
            "days to train on": self._covered(days, days[0], spans.train_to),
            "days to validate on": self._covered(days, spans.train_to + DAY, spans.validate_to),
            "days to test on": self._covered(days, spans.test_from, spans.test_to),
        }

    def _covered(self, days: Sequence[date], first: date, last: date) -> str:
        coverage = coverage_of(first, last, set(days))
        if not coverage["found"]:
            raise ConfigError(
                f"--archive {self.archive} has no file of {first} to {last}: its days are {days[0]} to {days[-1]}"
            )
        return coverage_text(coverage)


class Clock:
    """Says what was done and how long it took; remembers it."""

    def __init__(self, say: Say) -> None:
        self.say = say
        self.seconds: dict[str, float] = {}

    @contextmanager
    def __call__(self, done: str) -> Iterator[None]:
        started = time.perf_counter()
        yield
        self.seconds[done] = round(time.perf_counter() - started, 1)
        self.say(f"{done}: {self.seconds[done]:.0f} s")
