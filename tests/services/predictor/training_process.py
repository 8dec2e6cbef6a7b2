"""Trainings as processes of their own: `version DIRECTORY WORKERS` trains, saves and prints the version;
`endless DIRECTORY WORKERS` starts jobs that never end, each of which leaves its process id in the directory."""

from __future__ import annotations

import os
import sys
import threading
from dataclasses import replace
from functools import partial
from pathlib import Path

import torch

from services.predictor.learners.processes import process_executor
from services.predictor.training.candidate import registry_of
from services.predictor.training.members import FittedMember
from tests.services.predictor.model_requests import order
from tests.services.predictor.quick_trainings import POLICY, TINY, tiny_season, train_on


def version(models: Path, workers: int) -> str:
    torch.set_num_threads(1)
    result = train_on(
        tiny_season(), training=replace(TINY, networks=2, policy=POLICY, policy_members=1), workers=workers
    )
    description = result.model.description
    return registry_of(models).save(description, description.validation_last, result.model.tensors(), order())


def endless(directory: Path, workers: int) -> None:
    process_executor(workers)([partial(_endless_job, directory)] * workers, lambda _: None)


def _endless_job(directory: Path) -> FittedMember:
    (directory / str(os.getpid())).touch()
    threading.Event().wait()
    raise AssertionError


if __name__ == "__main__":
    command, directory, count = sys.argv[1:]
    if command == "endless":
        endless(Path(directory), int(count))
    else:
        print(version(Path(directory), int(count)))
