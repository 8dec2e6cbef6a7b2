"""The predictor before the first model is live, and its metrics afterwards."""

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
CHANGE = states.ChangeRequest(datetime(2030, 3, 2, tzinfo=UTC), "alice")


class FakePredictor:
    """Returns one record for each batch."""

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
    state_file.change(models, lambda registry: states.add_candidate(registry, VERSION, CHANGE))
    state_file.change(models, lambda registry: states.promote(registry, VERSION, CHANGE, None))


def test_the_status_says_at_once_that_a_model_went_live(tmp_path: Path) -> None:
    predictor = LazyPredictor(tmp_path, FakePredictor, Metrics())
    before = predictor.detail()

    go_live(tmp_path)

    assert "no model is live" in before["hint"]
    assert predictor.detail() == {"model": None, "hint": f"model {VERSION} is live; it is loaded with the next record"}


def test_no_predictor_is_created_before_a_model_is_live(tmp_path: Path) -> None:
    created: list[FakePredictor] = []
    predictor = LazyPredictor(tmp_path, lambda: created.append(FakePredictor()) or created[-1], Metrics())  # type: ignore[func-returns-value]

    assert predictor.handle([]) == []
    assert predictor.explain("k", "card") is None
    assert "headrace train" in predictor.detail()["hint"]
    assert not created
    go_live(tmp_path)

    assert len(predictor.handle([])) == 1
    assert len(predictor.handle([])) == 1
    assert len(created) == 1
    assert predictor.detail() == {"model_version": VERSION}


def test_a_shadow_alone_is_enough_to_predict(tmp_path: Path) -> None:
    predictor = LazyPredictor(tmp_path, FakePredictor, Metrics())
    state_file.change(tmp_path, lambda registry: states.add_candidate(registry, VERSION, CHANGE))
    assert predictor.handle([]) == []

    state_file.change(tmp_path, lambda registry: states.start_shadow(registry, VERSION, CHANGE))

    assert len(predictor.handle([])) == 1


def test_a_damaged_state_file_does_not_stop_the_service(tmp_path: Path) -> None:
    (tmp_path / state_file.STATES).write_text("{")
    predictor = LazyPredictor(tmp_path, FakePredictor, Metrics())

    assert predictor.handle([]) == []


def test_the_service_does_not_import_torch(repository: Path) -> None:
    program = "import sys, services.predictor.__main__; sys.exit('torch' in sys.modules)"

    assert subprocess.run([sys.executable, "-c", program], cwd=repository, check=False).returncode == 0


def test_metrics_show_the_scores_of_models(tmp_path: Path) -> None:
    go_live(tmp_path)
    metrics = Metrics()
    LazyPredictor(tmp_path, FakePredictor, metrics).handle([])

    def metric(name: str, **labels: str) -> float | None:
        return metrics.registry.get_sample_value(f"headrace_{name}", {"model": VERSION, **labels})

    assert metric("prediction_log_loss", head="result/card") == 1.4
    assert metric("prediction_base_log_loss", head="result/card") == 1.36
    assert metric("prediction_calibration_error", head="result/card", of="top") == 0.02
    assert metric("prediction_calibration_error", head="result/observation", of="top") is None
    assert metric("model_behind_base_rate", head="result/card") == 1
    assert metric("model_behind_base_rate", head="result/observation") == 0


def test_an_explanation_waits_for_the_current_batch(tmp_path: Path) -> None:
    go_live(tmp_path)
    fake = FakePredictor()
    predictor = LazyPredictor(tmp_path, lambda: fake, Metrics())
    predictor.handle([])
    fake.entered.clear()
    fake.opened.clear()
    explanations: list[Explanation | None] = []
    handling = threading.Thread(target=predictor.handle, args=([],))
    explaining = threading.Thread(target=lambda: explanations.append(predictor.explain("k", "card")))
    handling.start()
    assert fake.entered.wait(DEADLINE_S)
    explaining.start()
    assert not explanations
    fake.opened.set()
    handling.join(DEADLINE_S)
    explaining.join(DEADLINE_S)

    assert [each and each.event_key for each in explanations] == ["k"]
