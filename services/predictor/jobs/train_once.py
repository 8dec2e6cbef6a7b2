"""Trains once, without the command or a running predictor: `python -m services.predictor.jobs.train_once`.

It trains on all loaded events, with the default seed. The model goes live if it passes the gate.
"""

from __future__ import annotations

import sys
from datetime import UTC, datetime

import structlog

from services.predictor.jobs.worker_program import components
from services.predictor.promotion.promote import PromotionSetup, train_and_promote
from services.predictor.registry.states import ChangeRequest
from services.predictor.settings import PredictorSettings
from services.predictor.training.request import TrainingContext, TrainingRequest
from shared.runtime.process.run import launch

log = structlog.get_logger("predictor")


def train_once(settings: PredictorSettings) -> int:
    """Returns the exit code. Raises ConfigError if there are too few events."""
    train, compare_on_history, executor = components()
    setup = PromotionSetup(settings.database.conninfo("headrace training"), settings.models_dir, compare_on_history)
    change_request = ChangeRequest(at=datetime.now(UTC), who="training job")
    report = train_and_promote(
        setup, train, TrainingRequest(), change_request, TrainingContext(log.info, executor=executor)
    )
    log.info("training_succeeded", model_version=report["version"], state=report["state"])
    return 0


if __name__ == "__main__":
    sys.exit(launch(PredictorSettings, train_once))
