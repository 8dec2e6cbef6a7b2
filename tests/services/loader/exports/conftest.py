"""Fixtures of the tests of exports: a loader's database, and exporters of its days."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import threading
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import psycopg
import pytest

from services.loader.exports.exporter import Exporter, ExportTimes
from services.loader.exports.manifest import Format
from services.loader.exports.target import FolderTarget, Target
from services.loader.load import Loader
from shared.backoff import Backoff
from shared.records import DecodedRecord
from shared.runtime.metrics import Metrics
from tests.services.loader.facts import DAY, StillClock, received

NOON = datetime(2031, 5, 6, 12, tzinfo=UTC)
RUNNING = threading.Event()

Store = Callable[..., None]


@pytest.fixture
def store(database_url: str) -> Iterator[Store]:
    """Loads facts, or records, and commits them."""
    loader = Loader(StillClock(), Metrics())
    with psycopg.connect(database_url) as connection:
        connection.execute("SET timezone = 'UTC'")

        def commit(*facts: Any) -> None:
            records = [fact if isinstance(fact, DecodedRecord) else received(fact) for fact in facts]
            loader.handle(records, connection)
            connection.commit()

        yield commit


class Export:
    """An exporter with its clock and its target, by default the folder. It waits only for `grace_s`."""

    def __init__(
        self,
        url: str,
        folder: Path,
        now: datetime = NOON,
        *,
        formats: Sequence[Format] = ("csv",),
        target: Target | None = None,
        grace_s: float = 0,
    ) -> None:
        self.folder = folder
        self.target = target or FolderTarget(folder)
        self.clock = StillClock(now)
        times = ExportTimes(quiet_period_s=0, grace_s=grace_s, backoff=Backoff(0))
        self.exporter = Exporter(url, self.target, folder / ".staging", self.clock, formats, times)

    def run(self, times: int = 2) -> None:
        """Runs the exporter. It writes a day at the second run that finds it unchanged."""
        for _ in range(times):
            self.exporter.export_due_days(RUNNING)

    def remove_superseded(self) -> None:
        self.exporter.remove_superseded_files(RUNNING)

    def content(self, path: str) -> bytes:
        content = self.target.read(path)
        assert content is not None, path
        return content

    def rows(self, name: str, day: date = DAY) -> list[dict[str, str]]:
        return list(csv.DictReader(io.StringIO(self.content(f"{day}/{name}.csv").decode())))

    def manifest(self, day: date = DAY) -> Any:
        return json.loads(self.content(f"{day}/manifest.json"))

    def verified_files(self, day: date = DAY) -> dict[tuple[str, str], bytes]:
        """The content of each file of the manifest by table and format, compared with its size and hash."""
        contents = {}
        for file in self.manifest(day)["files"]:
            content = self.content(file["path"])
            assert (len(content), hashlib.sha256(content).hexdigest()) == (file["bytes"], file["sha256"]), file["path"]
            contents[file["table"], file["format"]] = content
        return contents

    @property
    def written(self) -> int:
        return int(self.exporter.status()["exports_written"])


MakeExport = Callable[..., Export]


@pytest.fixture
def make_export(database_url: str, tmp_path: Path) -> Iterator[MakeExport]:
    """Creates exporters of the database, by default to one folder."""
    exports: list[Export] = []

    def create(**options: Any) -> Export:
        exports.append(Export(database_url, tmp_path / "exports", **options))
        return exports[-1]

    yield create
    for export in exports:
        export.exporter._link.drop()


@pytest.fixture
def export(make_export: MakeExport) -> Export:
    return make_export()
