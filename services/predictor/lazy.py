"""The predictor before and after its first model: until one is live, torch is not even imported.

torch costs seconds of start and several hundred MB. A pipeline that only loads (a backfill, or nobody trained yet)
needs neither, so the real predictor is made when the pointer to a live model appears.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

from services.predictor.scores import Scores
from shared.broker.contract import NewRecord
from shared.records import Received
from shared.runtime.metrics import Metrics

LIVE = "LIVE"
"""The pointer's name in the directory of models (services/predictor/registry.py)."""


class Predicting(Protocol):
    """services/predictor/predict.py: Predictor."""

    scores: Scores

    @property
    def model_version(self) -> str | None: ...

    def handle(self, batch: Sequence[Received]) -> list[NewRecord]: ...

    def detail(self) -> dict[str, Any]: ...


class LazyPredictor:
    """`make` gives the real one; it is called once, by the loop's thread. `detail` may be asked from any."""

    def __init__(self, models_dir: Path, make: Callable[[], Predicting], metrics: Metrics) -> None:
        self._pointer = models_dir / LIVE
        self._make = make
        self._metrics = metrics
        self._real: Predicting | None = None
        self._shown: str | None = None

    def handle(self, batch: Sequence[Received]) -> list[NewRecord]:
        if self._real is None and not self._pointer.exists():
            return []
        self._real = self._real or self._make()
        started = time.perf_counter()
        records = self._real.handle(batch)
        if records:
            self._metrics.prediction_duration_seconds.observe(time.perf_counter() - started)
        self._show(self._real)
        return records

    def detail(self) -> dict[str, Any]:
        if self._real is None:
            return {"model": None, "hint": "no model is live: `headrace train` makes one"}
        return self._real.detail()

    def _show(self, real: Predicting) -> None:
        version = real.model_version or "none"
        if version != self._shown:
            self._metrics.model_info.clear()
            self._metrics.model_info.labels(version).set(1)
            self._shown = version
        for state, summary in real.scores.summary().items():
            self._metrics.prediction_log_loss.labels(f"result/{state}", version).set(summary["log_loss"])
