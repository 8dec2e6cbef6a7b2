"""Trains once, without the command or a running predictor: `python -m services.predictor.jobs.train_once`.

It trains on all loaded events, with the default seed. The model goes live if it passes the gate.
"""

from __future__ import annotations

import sys
from datetime import UTC, datetime

import structlog

from services.predictor.jobs.worker_program import parts
from services.predictor.promotion.promote import Place, trained
from services.predictor.registry.states import Order
from services.predictor.settings import PredictorSettings
from services.predictor.training.request import TrainingContext, TrainingRequest
from shared.runtime.process.run import launch

log = structlog.get_logger("predictor")


def train_once(settings: PredictorSettings) -> int:
    """Returns the exit code. Raises ConfigError if there are too few events."""
    learns, walks, executor = parts()
    place = Place(settings.database.conninfo("headrace training"), settings.models_dir, walks)
    order = Order(at=datetime.now(UTC), who="training job")
    found = trained(place, learns, TrainingRequest(), order, TrainingContext(log.info, executor=executor))
    log.info("training_succeeded", model_version=found["version"], state=found["state"])
    return 0


if __name__ == "__main__":
    sys.exit(launch(PredictorSettings, train_once))
