"""What a back-test was asked for, checked before anything takes long; and a clock that says what takes how long."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from headrace.backtest.archive import archive_days
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

    def check(self) -> None:
        """Everything that can be wrong, before anything takes long. Raises ConfigError."""
        self.spans.check()
        if not self.out.parent.is_dir():
            raise ConfigError(f"--out {self.out}: there is no folder {self.out.parent}")
        if self.out.is_dir():
            raise ConfigError(f"--out {self.out}: a folder; name a file")
        first, last = archive_days(self.archive)
        if self.spans.test_from > last or self.spans.test_to < first:
            raise ConfigError(
                f"--archive {self.archive} has no file of {self.spans.test_from} to {self.spans.test_to}: it has"
                f" {first} to {last}"
            )
        if self.spans.train_to < first:
            raise ConfigError(f"--train-to {self.spans.train_to}: the archive begins on {first}")


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
