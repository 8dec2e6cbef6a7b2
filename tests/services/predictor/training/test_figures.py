"""The pictures of a training."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from services.predictor.policy.hyperparameters import EpochMetrics
from services.predictor.policy.learning_curve import RETURN
from services.predictor.training.figures import training_pictures
from services.predictor.training.train import TrainingResult
from tests.services.predictor.quick_trainings import tiny_result

PNG = b"\x89PNG"
EVALUATED = EpochMetrics(epoch=1, td_loss=0.5, market_loss=0.1, metrics={RETURN: 0.9})


def picture_names(result: TrainingResult, folder: Path) -> list[str]:
    pictures = training_pictures(result, folder)
    assert sorted(folder.iterdir()) == sorted(pictures)
    assert all(path.read_bytes().startswith(PNG) for path in pictures)
    return [path.stem for path in pictures]


def test_every_kind_of_learning_has_its_picture(tmp_path: Path) -> None:
    result = replace(tiny_result(), policy_curves=[[EVALUATED, replace(EVALUATED, epoch=2)]])

    assert picture_names(result, tmp_path) == ["reliability", "learning-network", "learning-trees", "learning-agent"]


def test_a_picture_without_data_is_not_drawn(tmp_path: Path) -> None:
    without_metrics = [[replace(EVALUATED, metrics={})]]
    curves = {"trees card 1": tiny_result().curves["trees card 1"], "network 1": ()}

    assert picture_names(
        replace(tiny_result(), curves=curves, policy_curves=without_metrics, validation={}), tmp_path
    ) == ["learning-trees"]
