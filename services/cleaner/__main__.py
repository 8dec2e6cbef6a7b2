"""Cleaner: raw-events in, clean-events out."""

from __future__ import annotations

import sys

from services.cleaner.handle import Cleaner
from services.cleaner.settings import CleanerSettings
from shared.broker.connect import connect
from shared.runtime.consumer import ConsumerLoop
from shared.runtime.metrics import Metrics
from shared.runtime.run import launch, run
from shared.runtime.view import LoopView
from shared.topics import RAW


def start(settings: CleanerSettings) -> int:
    conninfo = settings.database.conninfo("headrace cleaner")
    metrics = Metrics()
    filtered = metrics.records_total
    cleaner = Cleaner(lambda reason: filtered.labels(settings.name, RAW, f"filtered: {reason}").inc())
    loop = ConsumerLoop(
        connect(settings, conninfo),
        service=settings.name,
        slot=settings.service.slot,
        reads=[RAW],
        metrics=metrics,
        handle=cleaner.handle,
        max_records=settings.cleaner.batch_records,
    )
    return run(settings, loop, LoopView(loop, connect(settings, conninfo), settings.service.replica), metrics)


if __name__ == "__main__":
    sys.exit(launch(CleanerSettings, start))
