"""Which pictures a training leaves."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from services.predictor.policy.hyperparameters import EpochMetrics
from services.predictor.policy.learning_curve import RETURN
from services.predictor.training.figures import training_pictures
from services.predictor.training.train import TrainingResult
from tests.services.predictor.tiny import made

PNG = b"\x89PNG"
WATCHED = EpochMetrics(epoch=1, td_loss=0.5, market_loss=0.1, metrics={RETURN: 0.9})


def drawn(found: TrainingResult, folder: Path) -> list[str]:
    pictures = training_pictures(found, folder)
    assert sorted(folder.iterdir()) == sorted(pictures)
    assert all(path.read_bytes().startswith(PNG) for path in pictures)
    return [path.stem for path in pictures]


def test_every_kind_of_learning_has_its_picture(tmp_path: Path) -> None:
    found = replace(made(), policy_curves=[[WATCHED, replace(WATCHED, epoch=2)]])

    assert drawn(found, tmp_path) == ["reliability", "learning-network", "learning-trees", "learning-agent"]


def test_what_was_not_measured_is_not_drawn(tmp_path: Path) -> None:
    unwatched = [[replace(WATCHED, metrics={})]]
    curves = {"trees card 1": made().curves["trees card 1"], "network 1": ()}

    assert drawn(replace(made(), curves=curves, policy_curves=unwatched, validation={}), tmp_path) == ["learning-trees"]
