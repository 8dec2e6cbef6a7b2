"""The predictor service: reads loaded-events and writes predictions of upcoming events."""

from __future__ import annotations

import sys

from services.predictor.api.explanation import router as explanation_router
from services.predictor.api.router import router as models_router
from services.predictor.jobs.child_process import job_starter
from services.predictor.jobs.kinds import PROMOTION, TRAINING
from services.predictor.serving.lazy_predictor import EventPredictor, LazyPredictor
from services.predictor.settings import PredictorSettings
from shared.broker.connect import connect
from shared.database.connection import ReconnectingConnection
from shared.runtime.loops.handler import InThread
from shared.runtime.metrics import Metrics
from shared.runtime.process.run import launch
from shared.runtime.service import ConsumerWork, Service, service_starter
from shared.topics import LOADED


def predictor_of(settings: PredictorSettings, conninfo: str) -> EventPredictor:
    """The real predictor. Imports are here, because torch is large (services/predictor/serving/lazy_predictor.py)."""
    import torch  # noqa: PLC0415

    from services.predictor.model.ensemble import EnsembleDescription  # noqa: PLC0415
    from services.predictor.model.weights import ensemble_of  # noqa: PLC0415
    from services.predictor.monitoring.postgres_scores import PostgresScores  # noqa: PLC0415
    from services.predictor.registry.store import Registry  # noqa: PLC0415
    from services.predictor.serving.deduplication import TopicTail  # noqa: PLC0415
    from services.predictor.serving.predict import Predictor, PredictorDependencies  # noqa: PLC0415
    from services.predictor.storage.postgres_facts import PostgresFacts  # noqa: PLC0415

    threads = settings.predictor.torch_threads
    torch.set_num_threads(threads)
    if torch.get_num_interop_threads() != threads:  # it can be set only once
        torch.set_num_interop_threads(threads)
    answer_s, first_read_s = settings.database.statement_timeout_s, settings.predictor.first_read_timeout_s

    def link_of(use: str) -> ReconnectingConnection:
        return ReconnectingConnection(conninfo, f"predictor, {use}", autocommit=True, answer_s=answer_s)

    facts = PostgresFacts(link_of("facts"), first_read_s)
    dependencies = PredictorDependencies(
        tail=TopicTail(connect(settings, conninfo)), scored=PostgresScores(link_of("scores"), first_read_s)
    )
    models = Registry(settings.models_dir, EnsembleDescription, ensemble_of)
    return Predictor(facts, models, settings.clock.clock(), dependencies)


def wire(settings: PredictorSettings, metrics: Metrics) -> Service:
    conninfo = settings.database.conninfo("headrace predictor")
    predictor = LazyPredictor(settings.models_dir, lambda: predictor_of(settings, conninfo), metrics)
    return Service(
        ConsumerWork([LOADED], InThread(predictor.handle), max_records=settings.predictor.batch_records),
        detail=predictor.detail,
        jobs=dict.fromkeys((TRAINING, PROMOTION), job_starter(conninfo, settings.models_dir)),
        routers=[
            lambda context: models_router(context, settings.models_dir),
            lambda context: explanation_router(context, predictor.explain),
        ],
    )


if __name__ == "__main__":
    sys.exit(launch(PredictorSettings, service_starter(wire)))
