"""Trains a model on what a world has loaded."""

from __future__ import annotations

import shutil
from pathlib import Path

from headrace.processes.supervisor import Program, Supervisor
from headrace.run.programs import common_environment, python
from tests.faults.errors import RunStuckError
from tests.faults.world import World

TRAINING_LIMIT_S = 600.0


def train(world: World) -> Path:
    """Returns the directory of models. Raises RunStuckError."""
    program = Program(
        "train",
        python("-m", "headrace", "train", "--data-dir", str(world.data_dir.path)),
        world.data_dir.log("train"),
        common_environment(world.data_dir),
        restart=False,
    )
    trainer = Supervisor([program])
    trainer.start()
    try:
        world.wait(
            lambda: bool(trainer.step()) or trainer.exit_status("train") is not None,
            TRAINING_LIMIT_S,
            "the training to end",
        )
    finally:
        trainer.stop()
    if trainer.exit_status("train"):
        raise RunStuckError(f"training failed: {program.log.read_text()[-2000:]}")
    return models_of(world)


def copy_model(world: World, models: Path) -> None:
    shutil.copytree(models, models_of(world), dirs_exist_ok=True)


def models_of(world: World) -> Path:
    return world.data_dir.path / "models"
