"""The predictor service: reads loaded-events and writes predictions of upcoming events."""

from __future__ import annotations

import sys

from services.predictor.api.explanation import router as explanation_router
from services.predictor.api.router import router as models_router
from services.predictor.jobs.child_process import job_starter
from services.predictor.jobs.kinds import PROMOTION, TRAINING
from services.predictor.serving.lazy_predictor import LazyPredictor, Predicting
from services.predictor.settings import PredictorSettings
from shared.broker.connect import connect
from shared.database.connection import Link
from shared.runtime.loops.handler import InThread
from shared.runtime.metrics import Metrics
from shared.runtime.process.run import launch
from shared.runtime.service import Consuming, Service, serving
from shared.topics import LOADED


def predictor_of(settings: PredictorSettings, conninfo: str) -> Predicting:
    """The real predictor. Imports are here, because torch is large (services/predictor/serving/lazy_predictor.py)."""
    import torch  # noqa: PLC0415

    from services.predictor.model.ensemble import Description  # noqa: PLC0415
    from services.predictor.model.weights import trained_of  # noqa: PLC0415
    from services.predictor.monitoring.postgres_scores import PostgresScored  # noqa: PLC0415
    from services.predictor.registry.store import Registry  # noqa: PLC0415
    from services.predictor.serving.deduplication import Tail  # noqa: PLC0415
    from services.predictor.serving.predict import Parts, Predictor  # noqa: PLC0415
    from services.predictor.storage.postgres_facts import PostgresFacts  # noqa: PLC0415

    threads = settings.predictor.torch_threads
    torch.set_num_threads(threads)
    if torch.get_num_interop_threads() != threads:  # it can be set only once
        torch.set_num_interop_threads(threads)
    facts = PostgresFacts(Link(conninfo, "predictor, facts", autocommit=True))
    parts = Parts(
        tail=Tail(connect(settings, conninfo)),
        scored=PostgresScored(Link(conninfo, "predictor, scores", autocommit=True)),
    )
    models = Registry(settings.models_dir, Description, trained_of)
    return Predictor(facts, models, settings.clock.clock(), parts)


def wire(settings: PredictorSettings, metrics: Metrics) -> Service:
    conninfo = settings.database.conninfo("headrace predictor")
    predictor = LazyPredictor(settings.models_dir, lambda: predictor_of(settings, conninfo), metrics)
    return Service(
        Consuming([LOADED], InThread(predictor.handle), max_records=settings.predictor.batch_records),
        detail=predictor.detail,
        jobs=dict.fromkeys((TRAINING, PROMOTION), job_starter(conninfo, settings.models_dir)),
        routers=[
            lambda desk: models_router(desk, settings.models_dir),
            lambda desk: explanation_router(desk, predictor.explain),
        ],
    )


if __name__ == "__main__":
    sys.exit(launch(PredictorSettings, serving(wire)))
