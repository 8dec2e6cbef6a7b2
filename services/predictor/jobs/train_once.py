"""A training by itself, where there is neither the command nor a predictor to ask: `python -m` this.

It learns from all that is loaded, with the usual seed, and the model goes live if the gate lets it pass.
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
    """The exit code. Raises ConfigError where there is too little to learn from."""
    learns, walks, executor = parts()
    place = Place(settings.database.conninfo("headrace training"), settings.models_dir, walks)
    order = Order(at=datetime.now(UTC), who="training job")
    found = trained(place, learns, TrainingRequest(), order, TrainingContext(log.info, executor=executor))
    log.info("trained", model_version=found["version"], state=found["state"])
    return 0


if __name__ == "__main__":
    sys.exit(launch(PredictorSettings, train_once))
