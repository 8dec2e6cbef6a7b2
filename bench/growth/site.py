"""The parts of the benchmark: a database of its own with the embedded broker, and the loader as a process.

The loader is paused while records are appended, so a measurement includes only loading. Daily files are off.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import psutil
import psycopg

from bench.growth.records import make_month
from bench.scale_site import FailedMeasurement, running_process, tree_cpu_s, wait_until
from headrace.database.access import Access, open_broker, open_database, prepare
from headrace.database.data_dir import DataDir
from headrace.run.options import RunOptions
from headrace.run.programs import service_environment
from shared.broker.contract import Broker
from shared.ops.orders import DesiredState
from shared.ops.tables.orders import live_replicas
from shared.ops.tables.steering import steer
from shared.settings.sections import Settings
from shared.topics import CLEAN

UNIT_RECORDS = 2000
_TABLES = """
SELECT relname, n_live_tup, n_dead_tup, n_tup_ins, n_tup_upd, n_tup_hot_upd, n_tup_del, autovacuum_count,
       pg_table_size(relid), pg_indexes_size(relid)
FROM pg_stat_user_tables WHERE schemaname = 'facts' ORDER BY relname"""
_INDEXES = """
SELECT relname, indexrelname, idx_scan, pg_relation_size(indexrelid)
FROM pg_stat_user_indexes WHERE schemaname = 'facts' ORDER BY 4 DESC"""


class TableStatistics(NamedTuple):
    """What PostgreSQL counted of a table since the beginning, and its size in bytes (with TOAST, without indexes)."""

    name: str
    live: int
    dead: int
    inserted: int
    updated: int
    hot_updated: int
    deleted: int
    autovacuums: int
    table_bytes: int
    index_bytes: int

    @property
    def writes(self) -> int:
        return self.inserted + self.updated + self.deleted


class IndexStatistics(NamedTuple):
    table: str
    name: str
    scans: int
    size_bytes: int


class CpuTime(NamedTuple):
    """Seconds: of the loader, of its sessions in PostgreSQL, and of the whole server (autovacuum, WAL, checkpoints)."""

    loader: float
    sessions: float
    server: float


class LoadedPart(NamedTuple):
    """Records that were loaded, the time that it took, and the tables afterwards."""

    records: int
    elapsed_s: float
    cpu: CpuTime
    tables: Sequence[TableStatistics]

    def cpu_us(self) -> CpuTime:
        """Microseconds per record."""
        return CpuTime(*(seconds / self.records * 1e6 for seconds in self.cpu))


@dataclass(frozen=True)
class GrowthSite:
    """Use as created by `growth_site`."""

    access: Access
    settings: Settings
    broker: Broker
    connection: psycopg.Connection[tuple[object, ...]]

    @contextmanager
    def loader(self) -> Iterator[psutil.Process]:
        """A loader, paused. When it has ended, PostgreSQL has all of its counts."""
        self._order("paused")
        data_dir = DataDir(self.settings.data_dir)
        environment = service_environment(
            self.access,
            data_dir,
            RunOptions("simulator"),
            follow=False,
            config=None,
            broker_url="embedded",
            service="loader",
            slot=0,
        )
        environment["HEADRACE_LOADER__EXPORTS"] = "false"
        with running_process(["-m", "services.loader"], environment, self.settings.data_dir / "loader.log") as process:
            wait_until(self._is_paused, "the loader to pause")
            yield process

    def load(self, process: psutil.Process, month: int) -> LoadedPart:
        """Append the records of a month, and measure the loader until it has handled them."""
        self._order("paused")
        wait_until(self._is_paused, "the loader to pause")
        records = self._append(month)
        before, started_s = self._cpu(process), time.perf_counter()
        self._order("running")
        wait_until(lambda: self._is_done(process), "the loader to handle a month")
        elapsed_s = time.perf_counter() - started_s
        spent = CpuTime(*(late - early for late, early in zip(self._cpu(process), before, strict=True)))
        return LoadedPart(records, elapsed_s, spent, self.tables())

    def tables(self) -> list[TableStatistics]:
        return [TableStatistics(*row) for row in self.connection.execute(_TABLES).fetchall()]  # type: ignore[arg-type]

    def indexes(self) -> list[IndexStatistics]:
        return [IndexStatistics(*row) for row in self.connection.execute(_INDEXES).fetchall()]  # type: ignore[arg-type]

    def _append(self, month: int) -> int:
        generated, count = make_month(month), 0
        with closing(self.broker.producer("bench-growth")) as producer:
            while batch := list(islice(generated, UNIT_RECORDS)):
                with producer.unit() as unit:
                    unit.append(batch)
                    unit.commit()
                count += len(batch)
        return count

    def _is_done(self, process: psutil.Process) -> bool:
        if not process.is_running() or process.status() == psutil.STATUS_ZOMBIE:
            raise FailedMeasurement("the loader ended")
        positions = self.broker.committed("loader", [CLEAN])
        return positions == self.broker.end_offsets(list(positions))

    def _cpu(self, process: psutil.Process) -> CpuTime:
        rows = self.connection.execute("SELECT pid FROM pg_stat_activity WHERE usename = 'headrace_loader'").fetchall()
        sessions_s = 0.0
        for (pid,) in rows:
            with suppress(psutil.NoSuchProcess):
                sessions_s += sum(psutil.Process(pid).cpu_times()[:2])  # type: ignore[arg-type]
        server = self.access.server
        postgres = server.pid() if server is not None else None
        return CpuTime(tree_cpu_s(process), sessions_s, tree_cpu_s(psutil.Process(postgres)) if postgres else 0.0)

    def _order(self, desired: DesiredState) -> None:
        with self.connection.transaction():
            steer(self.connection, "loader", [CLEAN], desired, who="bench", request_id="")

    def _is_paused(self) -> bool:
        observed = [each for each in live_replicas(self.connection, "loader").observed if each.tp.topic == CLEAN]
        return len(observed) == self.settings.broker.partitions and all(each.state == "paused" for each in observed)


@contextmanager
def growth_site() -> Iterator[GrowthSite]:
    with tempfile.TemporaryDirectory(prefix="headrace-bench-growth-") as folder:
        place = Path(folder)
        place.chmod(0o755)  # the server runs as another user
        settings = Settings(data_dir=place / "data")
        data_dir = DataDir(settings.data_dir)
        data_dir.create()
        data_dir.create_token()
        with open_database(settings) as access:
            prepare(access, settings)
            with open_broker(access, settings, "bench-growth") as broker, access.connect("bench-growth") as connection:
                connection.autocommit = True
                yield GrowthSite(access, settings, broker, connection)
