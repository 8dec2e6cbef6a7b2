"""Predictor: loaded-events in, predictions of upcoming events out."""

from __future__ import annotations

import sys

import psycopg
import torch

from services.predictor.postgres_facts import PostgresFacts
from services.predictor.predict import Predictor
from services.predictor.registry import Registry
from services.predictor.settings import PredictorSettings
from shared.broker.connect import connect
from shared.runtime.consumer import ConsumerLoop
from shared.runtime.metrics import Metrics
from shared.runtime.run import launch, run
from shared.runtime.view import LoopView
from shared.topics import LOADED


def start(settings: PredictorSettings) -> int:
    torch.set_num_threads(settings.predictor.torch_threads)
    conninfo = settings.database.conninfo("headrace predictor")
    metrics = Metrics()
    facts = PostgresFacts(lambda: psycopg.connect(conninfo, autocommit=True))
    predictor = Predictor(facts, Registry(settings.models_dir), settings.clock.clock(), metrics)
    loop = ConsumerLoop(
        connect(settings.broker.url, conninfo),
        service=settings.name,
        slot=settings.service.slot,
        reads=[LOADED],
        metrics=metrics,
        handle=predictor.handle,
        max_records=settings.predictor.batch_records,
    )
    view = LoopView(loop, connect(settings.broker.url, conninfo), settings.service.replica, predictor.status)
    return run(settings, loop, view, metrics)


if __name__ == "__main__":
    sys.exit(launch(PredictorSettings, start))
