"""Trainings as processes of their own: `version DIRECTORY WORKERS` trains, saves and says the version;
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
from tests.services.predictor.shelf_orders import order
from tests.services.predictor.tiny import POLICY, TINY, pond, trained


def version(models: Path, workers: int) -> str:
    torch.set_num_threads(1)
    made = trained(pond(), training=replace(TINY, networks=2, policy=POLICY, policy_members=1), workers=workers)
    description = made.model.description
    return registry_of(models).save(description, description.validation_last, made.model.tensors(), order())


def endless(directory: Path, workers: int) -> None:
    process_executor(workers)([partial(_never, directory)] * workers, lambda _: None)


def _never(directory: Path) -> FittedMember:
    (directory / str(os.getpid())).touch()
    threading.Event().wait()
    raise AssertionError


if __name__ == "__main__":
    what, place, count = sys.argv[1:]
    if what == "endless":
        endless(Path(place), int(count))
    else:
        print(version(Path(place), int(count)))
