"""The loader's endpoints over HTTP: exports and parked facts."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest

from headrace.database.embedded import EmbeddedPostgres
from services.loader.api import router
from services.loader.exports.exporter import Exporter, ExportTimes
from services.loader.exports.target import FolderTarget
from services.loader.load import Loader
from services.loader.postgres_export_orders import export_status
from services.loader.settings import LoaderSettings
from shared.runtime.metrics import Metrics
from tests.services.endpoints import finished_operation, served, settings_of
from tests.services.loader import facts
from tests.shared.runtime.api.admin_apps import assert_problem


@pytest.fixture
def loader_client(postgres: EmbeddedPostgres, database_url: str, tmp_path: Path) -> Iterator[Any]:
    settings = settings_of(LoaderSettings, postgres, database_url, tmp_path)
    with psycopg.connect(database_url) as connection:
        connection.execute("SET timezone = 'UTC'")
        rows = [facts.listed(), facts.settled(), facts.settled(number=2)]
        Loader(facts.StillClock(), Metrics()).handle([facts.received(each) for each in rows], connection)
        connection.commit()
    with served(settings, lambda context: router(context, exporting=True)) as client:
        yield client, settings


def test_an_export_rewrites_the_files_of_its_days(loader_client: Any, tmp_path: Path) -> None:
    client, settings = loader_client
    clock = facts.StillClock(facts.START + timedelta(days=9))
    folder, times = tmp_path / "csv", ExportTimes(quiet_period_s=0)
    exporter = Exporter(settings.database.conninfo(), FolderTarget(folder), folder / ".staging", clock, times=times)
    for _ in range(2):
        exporter.export_due_days(threading.Event())
    file = folder / facts.DAY.isoformat() / "events.csv"
    file.write_text("an outdated file")

    def export_and_read_progress(connection: Any, operation: Any) -> Any:
        exporter.export_due_days(threading.Event())
        return export_status(connection, operation)

    response = client.post("/exports", json={"from": facts.DAY.isoformat(), "to": facts.DAY.isoformat()})
    operation = finished_operation(client, response, settings, "export", export_and_read_progress)
    exporter._link.drop()

    assert (operation["state"], operation["counts"]) == ("succeeded", {"days": 1, "written": 1})
    assert facts.key() in file.read_text()


def test_days_without_rows_cannot_be_exported(loader_client: Any) -> None:
    response = loader_client[0].post("/exports", json={"from": "1999-01-01", "to": "1999-01-02"})

    assert "nothing is loaded" in assert_problem(response, 422, "invalid-input")


def test_parked_facts_are_listed(loader_client: Any) -> None:
    body = loader_client[0].get("/parked").json()

    assert (body["total"], body["next"]) == (1, None)
    assert (body["parked"][0]["event_key"], body["parked"][0]["kind"]) == (facts.key(2), "settled")
