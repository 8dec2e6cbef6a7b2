"""Loader: clean-events, predictions and dead letters in, rows and loaded-events out."""

from __future__ import annotations

import sys

from services.loader.exports import Exporter
from services.loader.load import Loader
from services.loader.settings import LoaderSettings
from shared.broker.connect import connect
from shared.broker.postgres_link import Link
from shared.runtime.consumer import ConsumerLoop
from shared.runtime.metrics import Metrics
from shared.runtime.outbox import relays
from shared.runtime.run import launch, run
from shared.runtime.view import LoopView
from shared.topics import CLEAN, DEAD_LETTERS, PREDICTIONS


def start(settings: LoaderSettings) -> int:
    conninfo = settings.database.conninfo("headrace loader")
    metrics = Metrics()
    clock = settings.clock.clock()
    loader = Loader(clock, metrics, settings.service.slot, Link(conninfo, "loader, shared rows", autocommit=True))
    loop = ConsumerLoop(
        connect(settings, conninfo),
        service=settings.name,
        slot=settings.service.slot,
        reads=[CLEAN, PREDICTIONS, *DEAD_LETTERS],
        metrics=metrics,
        database_handle=loader.handle,
        max_records=settings.loader.batch_records,
    )
    exporter = Exporter(conninfo, settings.data_dir / "exports", clock)
    view = LoopView(loop, connect(settings, conninfo), settings.service.replica, exporter.status)
    exports = [exporter.run] if settings.loader.exports else []
    return run(settings, loop, view, metrics, [*exports, *relays(settings, conninfo, metrics)])


if __name__ == "__main__":
    sys.exit(launch(LoaderSettings, start))
