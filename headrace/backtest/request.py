"""Validates the request of a back-test before any long work starts, and times its stages."""

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
from services.predictor.training.hyperparameters import EnsembleConfig
from shared.errors import ConfigError

ReportProgress = Callable[[str], None]


@dataclass(frozen=True)
class BacktestRequest:
    """`model`: a version in `models_dir` to evaluate instead of training one. `training`: None chooses hyperparameters
    by the number of events. `workers`: parallel processes; None uses one per core, at most four."""

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
    training: EnsembleConfig | None = None

    def validate(self) -> dict[str, str]:
        """Validate the request; returns how many days of each span have a file, as lines of the report.

        Raises ConfigError that names the wrong option.
        """
        self.spans.check()
        if not self.out.parent.is_dir():
            raise ConfigError(f"--out {self.out}: there is no folder {self.out.parent}")
        if self.out.is_dir():
            raise ConfigError(f"--out {self.out}: is a folder; expected a file name")
        days, spans = recorded_days(self.archive), self.spans
        if spans.train_to < days[0]:
            raise ConfigError(f"--train-to {spans.train_to}: the archive begins on {days[0]}")
        return {
            "days to train on": self._coverage_text(days, days[0], spans.train_to),
            "days to validate on": self._coverage_text(days, spans.train_to + DAY, spans.validate_to),
            "days to test on": self._coverage_text(days, spans.test_from, spans.test_to),
        }

    def _coverage_text(self, days: Sequence[date], first: date, last: date) -> str:
        coverage = coverage_of(first, last, set(days))
        if not coverage["found"]:
            raise ConfigError(
                f"--archive {self.archive} has no file of {first} to {last}: its days are {days[0]} to {days[-1]}"
            )
        return coverage_text(coverage)


class StageTimer:
    """Measures, reports and records the duration of each stage, in seconds."""

    def __init__(self, say: ReportProgress) -> None:
        self.say = say
        self.seconds: dict[str, float] = {}

    @contextmanager
    def __call__(self, stage: str) -> Iterator[None]:
        started = time.perf_counter()
        yield
        self.seconds[stage] = round(time.perf_counter() - started, 1)
        self.say(f"{stage}: {self.seconds[stage]:.0f} s")
