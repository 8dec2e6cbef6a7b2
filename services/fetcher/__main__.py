"""Runs the fetcher: reads a declared source, appends to raw-events and archives the raw documents."""

from __future__ import annotations

import sys
import time
from functools import partial

from services.fetcher.api.router import FetcherApi
from services.fetcher.archive.replay_jobs import ArchiveReplays
from services.fetcher.archive.retention import ArchiveRetention
from services.fetcher.fetch import Fetcher
from services.fetcher.gate.api import router as gates_router
from services.fetcher.gate.waits import REASONS, Waits
from services.fetcher.measurements import measure_gates, measure_windows
from services.fetcher.postgres_acceptances import ACCEPTANCE, AcceptanceOperations
from services.fetcher.postgres_backfills import BACKFILL, BackfillOperations
from services.fetcher.settings import FetcherSettings
from services.fetcher.source_factory import REFUSED_DATE, set_up_source
from services.fetcher.sources.documents import Refusal
from services.fetcher.sources.metered import ANSWERS, DOCUMENT
from services.fetcher.steady_clock import steady
from shared.broker.connect import connect
from shared.clock import SystemClock
from shared.ops.retention import gate_rows
from shared.ops.tables.replays import REPLAY
from shared.runtime.metrics import Metrics
from shared.runtime.process.operation_poller import OperationPoller
from shared.runtime.process.run import launch
from shared.runtime.row_retention import RowRetention
from shared.runtime.service import PollerWork, Service, service_starter
from shared.topics import FETCHER_CURSORS, RAW


def wire(settings: FetcherSettings, metrics: Metrics) -> Service:
    clock, conninfo = steady(settings.clock.clock()), settings.database.conninfo("headrace fetcher")

    def count_answer(source_name: str, status: str) -> None:
        metrics.fetch_requests_total.labels(source_name, status).inc()
        if status == DOCUMENT:
            metrics.fetch_last_document_timestamp_seconds.labels(source_name).set_to_current_time()

    def count_refusal(source_name: str, reason: str) -> None:
        metrics.fetch_refusals_total.labels(source_name, reason).inc()

    waits = Waits(time.monotonic, lambda reason: metrics.fetch_waits_total.labels(reason).inc())
    for reason in REASONS:
        metrics.fetch_waits_total.labels(reason)
        metrics.fetch_wait_seconds.labels(reason).set_function(partial(waits.seconds, reason))
    source, plan, pollable, archive = set_up_source(settings, clock, count_answer, count_refusal, waits)
    for answer in ANSWERS:  # from 0, so that a rate includes the first one
        metrics.fetch_requests_total.labels(source.name, answer)
    for reason in (*Refusal, REFUSED_DATE):
        metrics.fetch_refusals_total.labels(source.name, reason)
    metrics.fetch_last_document_timestamp_seconds.labels(source.name).set_to_current_time()
    days = settings.fetcher.archive_retention_days
    fetcher = pollable if isinstance(pollable, Fetcher) else None
    backfills, acceptances = BackfillOperations(fetcher), AcceptanceOperations(fetcher)
    api = FetcherApi(source, plan, clock, archive, fetcher.fetched_keys if fetcher is not None else tuple)
    return Service(
        PollerWork(pollable, RAW, FETCHER_CURSORS),
        background=[
            OperationPoller(conninfo, settings.name, BACKFILL, backfills.read_progress),
            OperationPoller(conninfo, settings.name, ACCEPTANCE, acceptances.read_progress),
            RowRetention(conninfo, settings.name, gate_rows(settings.retention), metrics),
            *([] if days is None else [ArchiveRetention(settings.archive, days, clock, conninfo, settings.name)]),
        ],
        detail=lambda: pollable.status() | {"waits": waits.status(source.host, SystemClock().now())},
        routers=[api.router, gates_router],
        jobs={REPLAY: ArchiveReplays(source, archive, conninfo, lambda: connect(settings, conninfo)).start},
        measurements=[measure_windows(source, plan, pollable, clock, metrics), measure_gates(metrics)],
        close=pollable.close,
    )


if __name__ == "__main__":
    sys.exit(launch(FetcherSettings, service_starter(wire)))
