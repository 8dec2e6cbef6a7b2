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
from shared.records import DecodedRecord
from shared.runtime.metrics import Metrics

if TYPE_CHECKING:
    from services.predictor.monitoring.drift import Drift
    from services.predictor.monitoring.rolling_scores import ScoreSummary
    from services.predictor.serving.explanation import Explanation

# How long an explanation waits for the batch in progress.
EXPLAIN_WAIT_S = 5.0

log = structlog.get_logger("predictor")


class EventPredictor(Protocol):
    """The interface of `Predictor` (services/predictor/serving/predict.py)."""

    drift: Drift

    @property
    def model_version(self) -> str | None: ...

    @property
    def summaries(self) -> list[ScoreSummary]: ...

    def handle(self, batch: Sequence[DecodedRecord]) -> list[NewRecord]: ...

    def explain(self, event_key: str, state: State) -> Explanation | None: ...

    def detail(self) -> dict[str, Any]: ...


class LazyPredictor:
    """`create` creates the real predictor; it is called once. `explain` and `detail` may be called from any thread."""

    def __init__(self, models_dir: Path, create: Callable[[], EventPredictor], metrics: Metrics) -> None:
        self._models_dir = models_dir
        self._create = create
        self._metrics = metrics
        self._model_metrics = ModelMetrics(metrics)
        self._predictor: EventPredictor | None = None
        self._changed_ns: int | None = None
        self._model_exists = False
        self._lock = threading.Lock()

    def handle(self, batch: Sequence[DecodedRecord]) -> list[NewRecord]:
        with self._lock:
            predictor = self._ready_predictor()
            if predictor is None:
                return []
            started = time.perf_counter()
            records = predictor.handle(batch)
        if records:
            self._metrics.prediction_duration_seconds.observe(time.perf_counter() - started)
        self._model_metrics.publish(predictor.model_version, predictor.summaries, predictor.drift)
        return records

    def explain(self, event_key: str, state: State) -> Explanation | None:
        """Runs between two batches; the first call may read the history. Raises TransientError if the batch in progress
        takes too long."""
        if not self._lock.acquire(timeout=EXPLAIN_WAIT_S):
            raise TransientError("the predictor is busy with a batch: try again in a few seconds")
        try:
            predictor = self._ready_predictor()
            return None if predictor is None else predictor.explain(event_key, state)
        finally:
            self._lock.release()

    def detail(self) -> dict[str, Any]:
        if self._predictor is not None:
            return self._predictor.detail()
        return {"model": None, "hint": self._hint()}

    def _hint(self) -> str:
        """Why no model is in use. Reads the state file at each call, because a model may have gone live meanwhile."""
        try:
            live = state_file.read(self._models_dir).live
        except ConfigError as error:
            return str(error)
        if live is not None:
            return f"model {live} is live; it is loaded with the next record"
        return "no model is live: `headrace train` trains one, or the training job of your deployment"

    def _ready_predictor(self) -> EventPredictor | None:
        if self._predictor is None and self._has_model():
            self._predictor = self._create()
        return self._predictor

    def _has_model(self) -> bool:
        """Called before every batch until it is true, so it reads the state file only if that changed."""
        changed_ns = state_file.changed_ns(self._models_dir)
        if changed_ns == self._changed_ns:
            return self._model_exists
        self._changed_ns = changed_ns
        try:
            registry_state = state_file.read(self._models_dir)
        except ConfigError as error:
            log.error("model_states_rejected", reason=str(error))  # noqa: TRY400 (no stack to show)
            self._model_exists = False
        else:
            self._model_exists = registry_state.live is not None or bool(registry_state.shadows)
        return self._model_exists
