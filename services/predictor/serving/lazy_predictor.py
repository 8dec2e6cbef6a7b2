"""Creates the real predictor when there is a model to predict with, so that torch is not imported before.

torch takes seconds to start and several hundred MB. A pipeline that only loads (a backfill, or before the first
training) needs no predictions, so the real predictor is created when a model is live or a shadow.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import structlog

from services.predictor.data.events import State
from services.predictor.registry import state_file
from services.predictor.serving.model_metrics import ModelMetrics
from shared.broker.contract import NewRecord
from shared.errors import ConfigError, TransientError
from shared.records import Received
from shared.runtime.metrics import Metrics

if TYPE_CHECKING:
    from services.predictor.monitoring.drift import Drift
    from services.predictor.monitoring.rolling_scores import Summary
    from services.predictor.serving.explanation import Explanation

# How long an explanation waits for the batch in progress.
EXPLAIN_WAIT_S = 5.0

log = structlog.get_logger("predictor")


class Predicting(Protocol):
    """The interface of `Predictor` (services/predictor/serving/predict.py)."""

    drift: Drift

    @property
    def model_version(self) -> str | None: ...

    @property
    def summaries(self) -> list[Summary]: ...

    def handle(self, batch: Sequence[Received]) -> list[NewRecord]: ...

    def explain(self, event_key: str, state: State) -> Explanation | None: ...

    def detail(self) -> dict[str, Any]: ...


class LazyPredictor:
    """`make` creates the real predictor; it is called once. `explain` and `detail` may be called from any thread."""

    def __init__(self, models_dir: Path, make: Callable[[], Predicting], metrics: Metrics) -> None:
        self._models_dir = models_dir
        self._make = make
        self._metrics = metrics
        self._model_metrics = ModelMetrics(metrics)
        self._real: Predicting | None = None
        self._changed_ns: int | None = None
        self._any = False
        self._working = threading.Lock()

    def handle(self, batch: Sequence[Received]) -> list[NewRecord]:
        with self._working:
            real = self._made()
            if real is None:
                return []
            started = time.perf_counter()
            records = real.handle(batch)
        if records:
            self._metrics.prediction_duration_seconds.observe(time.perf_counter() - started)
        self._model_metrics.publish(real.model_version, real.summaries, real.drift)
        return records

    def explain(self, event_key: str, state: State) -> Explanation | None:
        """Runs between two batches; the first call may read the history. Raises TransientError if the batch in progress
        takes too long."""
        if not self._working.acquire(timeout=EXPLAIN_WAIT_S):
            raise TransientError("the predictor is busy with a batch: try again in a few seconds")
        try:
            real = self._made()
            return None if real is None else real.explain(event_key, state)
        finally:
            self._working.release()

    def detail(self) -> dict[str, Any]:
        if self._real is None:
            return {"model": None, "hint": "no model is live: run `headrace train` to train one"}
        return self._real.detail()

    def _made(self) -> Predicting | None:
        if self._real is None and self._has_model():
            self._real = self._make()
        return self._real

    def _has_model(self) -> bool:
        """Called before every batch until it is true, so it reads the state file only if that changed."""
        changed_ns = state_file.changed_ns(self._models_dir)
        if changed_ns == self._changed_ns:
            return self._any
        self._changed_ns = changed_ns
        try:
            book = state_file.read(self._models_dir)
        except ConfigError as error:
            log.error("model_states_rejected", reason=str(error))  # noqa: TRY400 (no stack to show)
            self._any = False
        else:
            self._any = book.live is not None or bool(book.shadows)
        return self._any
