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
from services.loader.exports import Exporter
from services.loader.load import Loader
from services.loader.postgres_export_orders import export_status
from services.loader.settings import LoaderSettings
from shared.runtime.metrics import Metrics
from tests.services.endpoints import served, settings_of, settled
from tests.services.loader import facts
from tests.shared.runtime.api.desks import assert_problem


@pytest.fixture
def loading(postgres: EmbeddedPostgres, database_url: str, tmp_path: Path) -> Iterator[Any]:
    settings = settings_of(LoaderSettings, postgres, database_url, tmp_path)
    with psycopg.connect(database_url) as connection:
        connection.execute("SET timezone = 'UTC'")
        fact = [facts.listed(), facts.settled(), facts.settled(number=2)]
        Loader(facts.StillClock(), Metrics()).handle([facts.received(each) for each in fact], connection)
        connection.commit()
    with served(settings, lambda desk: router(desk, exporting=True)) as client:
        yield client, settings


def test_an_export_writes_its_days_anew(loading: Any, tmp_path: Path) -> None:
    client, settings = loading
    clock = facts.StillClock(facts.START + timedelta(days=9))
    exporter = Exporter(settings.database.conninfo(), tmp_path / "csv", clock, quiet_period_s=0)
    for _ in range(2):
        exporter.export_due_days(threading.Event())
    file = tmp_path / "csv" / facts.DAY.isoformat() / "events.csv"
    file.write_text("somebody emptied it")

    def write_and_look(connection: Any, operation: Any) -> Any:
        exporter.export_due_days(threading.Event())
        return export_status(connection, operation)

    asked = client.post("/exports", json={"from": facts.DAY.isoformat(), "to": facts.DAY.isoformat()})
    over = settled(client, asked, settings, "export", write_and_look)
    exporter._link.drop()

    assert (over["state"], over["counts"]) == ("succeeded", {"days": 1, "written": 1})
    assert facts.key() in file.read_text()


def test_days_without_rows_cannot_be_exported(loading: Any) -> None:
    asked = loading[0].post("/exports", json={"from": "1999-01-01", "to": "1999-01-02"})

    assert "nothing is loaded" in assert_problem(asked, 422, "invalid-input")


def test_what_is_parked_is_shown_with_its_reason(loading: Any) -> None:
    shown = loading[0].get("/parked").json()

    assert (shown["total"], shown["next"]) == (1, None)
    assert (shown["parked"][0]["event_key"], shown["parked"][0]["kind"]) == (facts.key(2), "settled")
