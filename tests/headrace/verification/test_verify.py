"""`headrace db verify` finds each planted inconsistency, names it, and raises no false alarm."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple
from uuid import UUID, uuid4

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict
from psycopg.types.json import Jsonb

from headrace.database.embedded import EmbeddedPostgres
from headrace.verification.inconsistency import Inconsistency
from headrace.verification.readers.verify import verify
from services.loader.exports.target import FolderTarget
from shared.events import Conditions
from shared.topics import LOADED
from tests.services.loader.exports.conftest import Export
from tests.services.loader.facts import DAY, key, listed, observed, outcomes, paid, settled
from tests.services.loader.test_loop import Pipe, open_pipe, prediction, record
from tests.waiting import DEADLINE_S

Connection = psycopg.Connection[Any]
EVENT = f"(SELECT id FROM facts.events WHERE event_key = '{key(1)}')"


class Loaded(NamedTuple):
    """A database by URL, and the folder of its exports."""

    url: str
    exports: Path


class NoProgress:
    def begin(self, name: str, total: int) -> Callable[[int], object]:
        return lambda count: None


def inconsistencies_of(loaded: Loaded) -> list[Inconsistency]:
    with (
        psycopg.connect(loaded.url, autocommit=True) as snapshot,
        psycopg.connect(loaded.url, autocommit=True) as current,
    ):
        return verify(snapshot, current, FolderTarget(loaded.exports), NoProgress()).inconsistencies


def fill(pipe: Pipe) -> None:
    """Three events with corrections, regressions, predictions and a parked result."""
    cards = [record(listed(number)) for number in (1, 2, 3)]
    previews = [record(observed(number)) for number in (1, 2, 3)]
    results = [
        record(settled(1)),
        record(settled(1, known=30, outcomes=outcomes(2, 1, 3, 4), technique=None, transactions=paid(win={"2": 300}))),
        record(settled(2)),
        record(settled(3, status="void", outcomes=(), transactions=())),
        record(settled(9)),
    ]
    pipe.send(*cards, *previews, *results, prediction(1))
    pipe.drain()


@pytest.fixture(scope="module")
def template(postgres: EmbeddedPostgres, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Loaded]:
    folder = tmp_path_factory.mktemp("exports")
    name = f"verify_{uuid4().hex}"
    with psycopg.connect(postgres.url_with_password(database="postgres"), autocommit=True) as owner:
        owner.execute(f'CREATE DATABASE "{name}" TEMPLATE headrace STRATEGY wal_log')
        url = postgres.url_with_password(database=name)
        with open_pipe(url, separate=True) as pipe:
            fill(pipe)
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute("INSERT INTO broker.kind (kind) VALUES ('embedded')")
        export = Export(url, folder)
        export.run()
        export.exporter._link.drop()
        yield Loaded(url, folder)
        owner.execute(f'DROP DATABASE "{name}" WITH (FORCE)')


@pytest.fixture
def loaded(template: Loaded, postgres: EmbeddedPostgres, tmp_path: Path) -> Iterator[Loaded]:
    source = conninfo_to_dict(template.url)["dbname"]
    name = f"verify_{uuid4().hex}"
    shutil.copytree(template.exports, tmp_path / "exports")
    with psycopg.connect(postgres.url_with_password(database="postgres"), autocommit=True) as owner:
        owner.execute(f'CREATE DATABASE "{name}" TEMPLATE "{source}" STRATEGY wal_log')
        yield Loaded(postgres.url_with_password(database=name), tmp_path / "exports")
        owner.execute(f'DROP DATABASE "{name}" WITH (FORCE)')


def test_a_clean_database_has_no_inconsistency(loaded: Loaded) -> None:
    assert inconsistencies_of(loaded) == []
    assert (loaded.exports / f"{DAY}" / "manifest.json").exists()


# What is planted, and the table of each inconsistency that it makes.
PLANTS = {
    "an entry changed": (
        f"UPDATE facts.entries SET categories = '{{}}' WHERE event_id = {EVENT} AND slot = 1",
        "facts.entries",
    ),
    "an entry of another entity": (
        (
            "UPDATE facts.entries SET entity_id = (SELECT id FROM facts.entities WHERE entity_key = "
            f"'river:102') WHERE event_id = {EVENT} AND slot = 1"
        ),
        "facts.entries",
    ),
    "an entry removed": (f"DELETE FROM facts.entries WHERE event_id = {EVENT} AND slot = 1", "facts.entries"),
    "an entry added": (
        f"INSERT INTO facts.entries SELECT {EVENT}, 9, entity_id FROM facts.entries LIMIT 1",
        "facts.entries",
    ),
    "an observation changed": (
        f"UPDATE facts.observations SET course = 6 WHERE event_id = {EVENT} AND slot = 1",
        "facts.observations",
    ),
    "an observation removed": (
        f"DELETE FROM facts.observations WHERE event_id = {EVENT} AND slot = 2",
        "facts.observations",
    ),
    "an observation added": (f"INSERT INTO facts.observations VALUES ({EVENT}, 9, 1)", "facts.observations"),
    "an outcome changed": (
        f"UPDATE facts.outcomes SET place = 6 WHERE event_id = {EVENT} AND slot = 1",
        "facts.outcomes",
    ),
    "an outcome removed": (f"DELETE FROM facts.outcomes WHERE event_id = {EVENT} AND slot = 1", "facts.outcomes"),
    "an outcome added": (
        f"INSERT INTO facts.outcomes (event_id, slot, place) VALUES ({EVENT}, 9, 6)",
        "facts.outcomes",
    ),
    "an amount changed": (f"UPDATE facts.transactions SET amount = 1 WHERE event_id = {EVENT}", "facts.transactions"),
    "a transaction removed": (f"DELETE FROM facts.transactions WHERE event_id = {EVENT}", "facts.transactions"),
    "a transaction added": (f"INSERT INTO facts.transactions VALUES ({EVENT}, 'win', '9', 1, 9)", "facts.transactions"),
    "a status changed": (f"UPDATE facts.events SET status = 'void' WHERE id = {EVENT}", "facts.events"),
    "a title changed": (f"UPDATE facts.events SET title = 'x' WHERE id = {EVENT}", "facts.events"),
    "a wrong count of versions": (f"UPDATE facts.events SET version = 99 WHERE id = {EVENT}", "facts.events"),
    "a correction removed": ("DELETE FROM facts.corrections WHERE field = 'outcomes.1.result'", "facts.corrections"),
    "a correction changed": (
        "UPDATE facts.corrections SET old = 'x' WHERE field = 'outcomes.1.result'",
        "facts.corrections",
    ),
    "a regression removed": ("DELETE FROM facts.regressions", "facts.regressions"),
    "a version removed": (
        f"DELETE FROM facts.versions WHERE event_id = {EVENT} AND kind = 'settled' AND version = 1",
        "facts.versions",
    ),
    "a version out of order": (
        f"UPDATE facts.versions SET version = 7 WHERE event_id = {EVENT} AND kind = 'settled' AND version = 1",
        "facts.versions",
    ),
    "a version of another time": (
        f"UPDATE facts.versions SET known_at = now() WHERE event_id = {EVENT} AND kind = 'listed'",
        "facts.versions",
    ),
    "a version of another kind": (
        f"UPDATE facts.versions SET kind = 'settled', version = 3 WHERE event_id = {EVENT} AND kind = 'observed'",
        "facts.versions",
    ),
    "a body that cannot be read": (
        f"UPDATE facts.versions SET body = 'x' WHERE event_id = {EVENT} AND kind = 'observed'",
        "facts.versions",
    ),
    "an entity changed": ("UPDATE facts.entities SET name = 'x' WHERE entity_key = 'river:101'", "facts.entities"),
    "a return rate changed": (
        "UPDATE facts.return_rates SET returned = returned + 1 WHERE scope = 'slot' AND key = '2'",
        "facts.return_rates",
    ),
    "a return rate removed": ("DELETE FROM facts.return_rates WHERE scope = 'venue'", "facts.return_rates"),
    "a return rate added": (
        (
            "INSERT INTO facts.return_rates SELECT slot, source_id, 'slot', '9', market, 1, 100, 0, as_of"
            " FROM facts.return_rates WHERE scope = 'all' LIMIT 1"
        ),
        "facts.return_rates",
    ),
    "a session of another day": ("UPDATE facts.sessions SET date = date + 1", "facts.sessions"),
    "a session with a title that no card states": ("UPDATE facts.sessions SET title = 'x'", "facts.sessions"),
    "a session of another grade": ("UPDATE facts.sessions SET grade = 9", "facts.sessions"),
    "a title of a session changed in all its rows": (
        "WITH s AS (UPDATE facts.sessions SET title = 'x') UPDATE facts.events SET session_title = 'x'",
        "facts.events",
    ),
    "what was known earlier removed": ("DELETE FROM facts.past_facts", "facts.past_facts"),
    "what was known earlier changed": (
        "UPDATE facts.past_facts SET fact = fact || '{\"technique\": 9}'",
        "facts.past_facts",
    ),
    "a range of knowledge changed": (
        "UPDATE facts.past_facts SET valid_to = valid_to + interval '1 s'",
        "facts.past_facts",
    ),
    "a reference to no entity": (
        f"UPDATE facts.entries SET entity_id = -1 WHERE event_id = {EVENT} AND slot = 1",
        "facts.entries",
    ),
    "a row of no event": ("INSERT INTO facts.outcomes (event_id, slot, place) VALUES (-1, 1, 1)", "facts.outcomes"),
    "a parked fact of a listed event": (f"UPDATE facts.parked SET parent_key = '{key(1)}'", "facts.parked"),
    "a prediction with other packed values": (
        "UPDATE facts.predictions SET layout_values = '{0.9}'",
        "facts.predictions",
    ),
    "an export that never happened": ("UPDATE facts.export_days SET exported = touched + 1", "facts.export_days"),
    "a day without a state of its export": ("DELETE FROM facts.export_days", "facts.export_days"),
    "a position beyond the log": ("UPDATE broker.positions SET next_off = 1000 WHERE next_off > 0", "broker.positions"),
    "a batch removed from the log": (
        f"DELETE FROM broker.log WHERE topic_id = (SELECT id FROM broker.topics WHERE name = '{LOADED}')",
        "broker.partitions",
    ),
    "an end beyond the log": (
        (
            "UPDATE broker.partitions SET end_off = end_off + 5 WHERE topic_id = (SELECT id FROM "
            f"broker.topics WHERE name = '{LOADED}')"
        ),
        "broker.partitions",
    ),
}
# These show in the files of the day too, or in what else is derived from the same row.
ALSO_SHOWN_IN = {"exports", LOADED}


@pytest.mark.parametrize(("statement", "table"), PLANTS.values(), ids=PLANTS)
def test_a_planted_inconsistency_is_found(loaded: Loaded, statement: str, table: str) -> None:
    with psycopg.connect(loaded.url, autocommit=True) as connection:
        connection.execute("SET session_replication_role = replica")
        assert connection.execute(statement.encode()).rowcount > 0

    result = inconsistencies_of(loaded)

    assert table in {each.table for each in result}
    assert {each.table for each in result} <= {table} | ALSO_SHOWN_IN
    assert all(each.key and each.expected != each.actual and each.remedy for each in result)


def test_a_profile_that_is_missing_changed_or_extra_is_found(loaded: Loaded) -> None:
    for statement in (
        "DELETE FROM facts.profiles WHERE record_id IN (SELECT record_id FROM facts.versions WHERE version = 1)",
        "UPDATE facts.profiles SET measures = '{\"weight_kg\": 1}'",
        (
            f"INSERT INTO facts.profiles SELECT entity_id, known_at, '{UUID(int=5)}', name, categories"
            " FROM facts.profiles LIMIT 1"
        ),
    ):
        with psycopg.connect(loaded.url, autocommit=True) as connection:
            before = connection.execute("SELECT * FROM facts.profiles").fetchall()
            connection.execute(statement.encode())

            assert "facts.profiles" in {each.table for each in inconsistencies_of(loaded)}

            connection.execute("TRUNCATE facts.profiles")
            with connection.cursor() as cursor:
                rows = [(*row[:4], Jsonb(row[4]), Jsonb(row[5])) for row in before]
                cursor.executemany("INSERT INTO facts.profiles VALUES (%s, %s, %s, %s, %s, %s)", rows)
    assert inconsistencies_of(loaded) == []


def test_a_fact_whose_announcement_is_missing_is_found(loaded: Loaded) -> None:
    with psycopg.connect(loaded.url, autocommit=True) as connection:
        connection.execute(
            f"UPDATE facts.versions SET record_id = '{UUID(int=7)}'"
            f" WHERE kind = 'observed' AND event_id = {EVENT}".encode()
        )

    (result,) = inconsistencies_of(loaded)

    assert (result.table, result.key, result.actual) == (LOADED, f"{key(1)} observed 1", "absent")


@pytest.mark.parametrize("change", ["changed", "removed", "no manifest", "other rows"])
def test_a_wrong_export_is_found(loaded: Loaded, change: str) -> None:
    folder = loaded.exports / f"{DAY}"
    file = next((folder / "by-hash").glob("outcomes-*.csv"))
    if change == "changed":
        file.write_text(file.read_text() + "x")
    elif change == "removed":
        file.unlink()
    elif change == "no manifest":
        (folder / "manifest.json").unlink()
    else:
        manifest = folder / "manifest.json"
        other = next((folder / "by-hash").glob("entries-*.csv"))
        text = manifest.read_text()
        manifest.write_text(text.replace(file.stem.split("-")[1], other.stem.split("-")[1]))

    result = inconsistencies_of(loaded)

    assert result != []
    assert {each.table for each in result} == {"exports"}
    assert f"headrace export --from {DAY}" in result[0].remedy


def test_no_false_alarm_while_a_loader_writes(loaded: Loaded) -> None:
    stop, errors = threading.Event(), list[BaseException]()

    def load() -> None:
        try:
            with open_pipe(loaded.url, separate=True) as pipe:
                number = 10
                while not stop.is_set():
                    pipe.send(record(listed(number)), record(observed(number, conditions=Conditions(weather=2))))
                    pipe.send(record(settled(number)), record(listed(1, known=-290 + number, title=f"t{number}")))
                    pipe.drain()
                    number += 1
        except BaseException as error:  # noqa: BLE001  # reported by the assertion below
            errors.append(error)

    thread = threading.Thread(target=load)
    thread.start()
    try:
        result = [each for _ in range(5) for each in inconsistencies_of(loaded)]
    finally:
        stop.set()
        thread.join(DEADLINE_S)

    assert not thread.is_alive()
    assert errors == []
    assert result == []
