"""The cleaner process: reads raw-events, writes clean-events."""

from __future__ import annotations

import sys

from services.cleaner.handle import Cleaner
from services.cleaner.settings import CleanerSettings
from shared.runtime.loops.handler import InUnit
from shared.runtime.metrics import Metrics
from shared.runtime.process.run import launch
from shared.runtime.service import ConsumerWork, Service, service_starter
from shared.topics import RAW


def wire(settings: CleanerSettings, metrics: Metrics) -> Service:
    filtered = metrics.records_total
    cleaner = Cleaner(lambda reason: filtered.labels(settings.name, RAW, f"filtered: {reason}").inc())
    return Service(ConsumerWork([RAW], InUnit(cleaner.handle), max_records=settings.cleaner.batch_records))


if __name__ == "__main__":
    sys.exit(launch(CleanerSettings, service_starter(wire)))
