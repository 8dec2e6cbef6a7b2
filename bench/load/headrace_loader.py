"""Measures the loader: rows with references, versions, records of loaded-events (the outbox with Kafka) and positions.

Daily files are off, because no other loader writes any. The start of the processes is not measured.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from urllib.parse import quote

import psutil
import psycopg

from bench.load.records import content_of
from bench.load.site import LoadCost, LoadSite, TargetDatabase, fill
from bench.scale_site import running_process, wait_until
from headrace.database.access import Access, access_of, open_broker, prepare
from headrace.database.data_dir import DataDir
from headrace.run.options import RunOptions
from headrace.run.programs import service_environment
from shared.ops.orders import DesiredState
from shared.ops.tables.orders import live_replicas
from shared.ops.tables.steering import steer
from shared.settings.sections import BrokerSettings, DatabaseSettings, Settings
from shared.topics import CLEAN

ROWS = "SELECT count(*), coalesce(sum(distance_m), 0) FROM facts.events"
VERSIONS = "SELECT count(*) FROM facts.versions"


def measure_headrace(site: LoadSite, broker: str, processes: int) -> LoadCost:
    """`broker`: embedded or kafka. The clean records are in Kafka already; they are appended to an embedded log."""
    with site.database() as database:
        settings = _settings(site, database, broker)
        data_dir = DataDir(settings.data_dir)
        data_dir.create()
        data_dir.create_token()
        access = access_of(settings)
        prepare(access, settings)
        if broker == "embedded":
            with open_broker(access, settings, "bench") as log:
                fill(log, site.records)
        with access.connect() as connection, _paused_loaders(connection, access, settings, processes) as running:
            cost = site.measure(
                database, running, ROWS, content_of(site.records), lambda: _order(connection, "running")
            )
            versions = connection.execute(VERSIONS).fetchone()
            if versions != (site.records,):
                raise SystemExit(f"bench: expected {site.records} versions, got {versions}")
        return cost


def _settings(site: LoadSite, database: TargetDatabase, broker: str) -> Settings:
    socket_dir = quote(str(database.server.socket_dir), safe="")
    url = f"postgresql://{database.user}@/{database.name}?host={socket_dir}"
    return Settings(
        data_dir=database.place / "data",
        database=DatabaseSettings(url=url, password_file=database.server.password_file(database.user)),
        broker=BrokerSettings(url=f"kafka://{site.kafka.address}" if broker == "kafka" else "embedded"),
    )


@contextmanager
def _paused_loaders(
    connection: psycopg.Connection[tuple[object, ...]], access: Access, settings: Settings, count: int
) -> Iterator[list[psutil.Process]]:
    """The loaders, paused and with their partitions."""
    _order(connection, "paused")
    with ExitStack() as stack:
        running = []
        for slot in range(count):
            environment = service_environment(
                access,
                DataDir(settings.data_dir),
                RunOptions("simulator"),
                follow=False,
                config=None,
                broker_url=settings.broker.url,
                service="loader",
                slot=slot,
            )
            environment["HEADRACE_LOADER__EXPORTS"] = "false"
            log = settings.data_dir / f"loader-{slot}.log"
            running.append(stack.enter_context(running_process(["-m", "services.loader"], environment, log)))
        wait_until(lambda: _is_paused(connection, count, settings.broker.partitions), "the loaders to pause")
        yield running


def _order(connection: psycopg.Connection[tuple[object, ...]], desired: DesiredState) -> None:
    with connection.transaction():
        steer(connection, "loader", [CLEAN], desired, who="bench", request_id="")


def _is_paused(connection: psycopg.Connection[tuple[object, ...]], count: int, partitions: int) -> bool:
    observed = [each for each in live_replicas(connection, "loader").observed if each.tp.topic == CLEAN]
    return (
        len(observed) == partitions
        and len({each.replica for each in observed}) == count
        and all(each.state == "paused" for each in observed)
    )
