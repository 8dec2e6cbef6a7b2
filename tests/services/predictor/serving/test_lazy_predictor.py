"""Before the first model, and what metrics show after it."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from services.predictor.data.events import State
from services.predictor.evaluation.bootstrap import Interval
from services.predictor.monitoring.drift import Drift
from services.predictor.monitoring.rolling_scores import ScoreSummary
from services.predictor.registry import state_file, states
from services.predictor.serving.explanation import Explanation
from services.predictor.serving.lazy_predictor import LazyPredictor
from shared.broker.contract import NewRecord
from shared.records import DecodedRecord
from shared.runtime.metrics import Metrics
from tests.waiting import DEADLINE_S

VERSION = "20300301-00000001"
ORDER = states.ChangeRequest(datetime(2030, 3, 2, tzinfo=UTC), "somebody")


class Predicts:
    """Says that it was asked."""

    model_version = VERSION

    def __init__(self) -> None:
        self.drift = Drift()
        self.summaries = [
            ScoreSummary(VERSION, "card", 2048, 1.4, 1.36, 0.01, 0.02, Interval(0.04, 0.01, 0.07)),
            ScoreSummary(VERSION, "observation", 3, 1.2, 1.36, None, None, None),
        ]
        self.entered, self.opened = threading.Event(), threading.Event()
        self.opened.set()

    def handle(self, batch: Sequence[DecodedRecord]) -> list[NewRecord]:
        self.entered.set()
        self.opened.wait(DEADLINE_S)
        return [NewRecord("predictions", b"k", b"v", {})]

    def explain(self, event_key: str, state: State) -> Explanation | None:
        return Explanation(event_key, state, VERSION, 0.0, ())

    def detail(self) -> dict[str, Any]:
        return {"model_version": VERSION}


def go_live(models: Path) -> None:
    state_file.change(models, lambda book: states.add_candidate(book, VERSION, ORDER))
    state_file.change(models, lambda book: states.promote(book, VERSION, ORDER, None))


def test_nothing_is_made_before_a_model_is_live(tmp_path: Path) -> None:
    made: list[Predicts] = []
    predictor = LazyPredictor(tmp_path, lambda: made.append(Predicts()) or made[-1], Metrics())  # type: ignore[func-returns-value]

    assert predictor.handle([]) == []
    assert predictor.explain("k", "card") is None
    assert "headrace train" in predictor.detail()["hint"]
    assert not made
    go_live(tmp_path)

    assert len(predictor.handle([])) == 1
    assert len(predictor.handle([])) == 1
    assert len(made) == 1
    assert predictor.detail() == {"model_version": VERSION}


def test_a_shadow_is_reason_enough(tmp_path: Path) -> None:
    predictor = LazyPredictor(tmp_path, Predicts, Metrics())
    state_file.change(tmp_path, lambda book: states.add_candidate(book, VERSION, ORDER))
    assert predictor.handle([]) == []

    state_file.change(tmp_path, lambda book: states.start_shadow(book, VERSION, ORDER))

    assert len(predictor.handle([])) == 1


def test_damaged_states_stop_nothing(tmp_path: Path) -> None:
    (tmp_path / state_file.STATES).write_text("{")
    predictor = LazyPredictor(tmp_path, Predicts, Metrics())

    assert predictor.handle([]) == []


def test_the_service_does_not_import_torch(repository: Path) -> None:
    program = "import sys, services.predictor.__main__; sys.exit('torch' in sys.modules)"

    assert subprocess.run([sys.executable, "-c", program], cwd=repository, check=False).returncode == 0


def test_metrics_show_how_models_did(tmp_path: Path) -> None:
    go_live(tmp_path)
    metrics = Metrics()
    LazyPredictor(tmp_path, Predicts, metrics).handle([])

    def shown(name: str, **labels: str) -> float | None:
        return metrics.registry.get_sample_value(f"headrace_{name}", {"model": VERSION, **labels})

    assert shown("prediction_log_loss", head="result/card") == 1.4
    assert shown("prediction_base_log_loss", head="result/card") == 1.36
    assert shown("prediction_calibration_error", head="result/card", of="top") == 0.02
    assert shown("prediction_calibration_error", head="result/observation", of="top") is None
    assert shown("model_behind_base_rate", head="result/card") == 1
    assert shown("model_behind_base_rate", head="result/observation") == 0


def test_an_explanation_waits_for_the_batch_that_is_handled(tmp_path: Path) -> None:
    go_live(tmp_path)
    real = Predicts()
    predictor = LazyPredictor(tmp_path, lambda: real, Metrics())
    predictor.handle([])
    real.entered.clear()
    real.opened.clear()
    found: list[Explanation | None] = []
    handling = threading.Thread(target=predictor.handle, args=([],))
    explaining = threading.Thread(target=lambda: found.append(predictor.explain("k", "card")))
    handling.start()
    assert real.entered.wait(DEADLINE_S)
    explaining.start()
    assert not found
    real.opened.set()
    handling.join(DEADLINE_S)
    explaining.join(DEADLINE_S)

    assert [each and each.event_key for each in found] == ["k"]
