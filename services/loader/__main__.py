"""The loader process: reads clean-events, predictions and dead letters, writes rows and loaded-events."""

from __future__ import annotations

import sys

from services.loader.api import router
from services.loader.exports.assembly import make_exporter
from services.loader.load import Loader
from services.loader.postgres_export_orders import KIND, export_status
from services.loader.postgres_measurements import loader_measurements
from services.loader.settings import LoaderSettings
from shared.database.connection import ReconnectingConnection
from shared.ops.retention import operation_rows
from shared.runtime.exit_codes import Background
from shared.runtime.loops.handler import InTransaction
from shared.runtime.metrics import Metrics
from shared.runtime.process.operation_poller import OperationPoller
from shared.runtime.process.run import launch
from shared.runtime.row_retention import RowRetention
from shared.runtime.service import ConsumerWork, Service, service_starter
from shared.topics import CLEAN, DEAD_LETTERS, PREDICTIONS


def wire(settings: LoaderSettings, metrics: Metrics) -> Service:
    conninfo = settings.database.conninfo("headrace loader")
    clock = settings.clock.clock()
    shared = ReconnectingConnection(
        conninfo, "loader, shared rows", autocommit=True, answer_s=settings.database.statement_timeout_s
    )
    loader = Loader(clock, metrics, settings.service.slot, shared, settings.broker.partitions, settings.loader.as_of)
    exporter = make_exporter(settings, conninfo, clock) if settings.loader.exports else None
    background: list[Background] = [RowRetention(conninfo, settings.name, operation_rows(settings.retention), metrics)]
    if exporter:
        background += [exporter.run, OperationPoller(conninfo, settings.name, KIND, export_status)]
    return Service(
        ConsumerWork(
            [CLEAN, PREDICTIONS, *DEAD_LETTERS], InTransaction(loader.handle), max_records=settings.loader.batch_records
        ),
        background=background,
        detail=exporter.status if exporter else dict,
        routers=[lambda context: router(context, exporting=settings.loader.exports)],
        measurements=loader_measurements(metrics, clock),
    )


if __name__ == "__main__":
    sys.exit(launch(LoaderSettings, service_starter(wire)))
