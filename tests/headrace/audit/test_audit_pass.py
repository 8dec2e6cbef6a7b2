"""An audit of a real run, whole and damaged at every hop: each loss is found at its hop, and nothing else is."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

import psycopg
import pytest

from headrace.audit.audit_pass import AuditTarget
from headrace.audit.window import AuditWindow
from shared.topics import CLEAN, LOADED, PREDICTIONS, RAW
from tests.headrace.audit.pipeline import batches, counts, doubled, edit, findings, ids_in, look_twice, predict, without
from tests.headrace.runs import DAYS, RACES

pytestmark = pytest.mark.slow
Connection = psycopg.Connection[Any]
BASE_TABLES = 9
FACTS = 3 * len(DAYS) * RACES
ROW_TABLES = ("entries", "observations", "outcomes", "transactions")


def fact_id(connection: Connection, kind: str = "observed") -> str:
    query = "SELECT record_id::text FROM facts.versions WHERE kind = %s ORDER BY 1 LIMIT 1"
    (event_id,) = connection.execute(query, (kind,)).fetchone() or ("",)
    return str(event_id)


def test_a_run_that_lost_nothing_has_nothing_to_tell(place: AuditTarget) -> None:
    look = look_twice(place)

    assert look.findings == []
    assert counts(look) == {"loaded": FACTS + BASE_TABLES}
    assert {name: (hop.expected, hop.arrived) for name, hop in look.hops.items()} == {
        "facts -> loaded-events": (FACTS, FACTS),
        "predictions -> facts": (3, 3),
        "dead letters -> facts": (0, 0),
    }
    assert (look.windows, look.unfollowed) == (3 * len(DAYS), 0)


@pytest.mark.parametrize(
    ("topic", "hop"),
    [(RAW, "archive -> raw-events"), (CLEAN, "raw-events -> clean-events"), (LOADED, "facts -> loaded-events")],
)
def test_a_record_taken_out_of_a_topic_is_missing_there(
    place: AuditTarget, connection: Connection, topic: str, hop: str
) -> None:
    event_id = fact_id(connection)

    edit(connection, topic, without(event_id))

    found = look_twice(place).findings
    assert {(each.kind, each.where) for each in found} == {("missing", hop), ("hole", topic)}
    assert [each.subject for each in found if each.kind == "missing"] == [event_id]


def test_a_whole_batch_taken_out_of_the_log_is_missing_record_by_record(
    place: AuditTarget, connection: Connection
) -> None:
    key, records = batches(connection, CLEAN)[0]

    connection.execute("DELETE FROM broker.log WHERE (topic_id, p, base_off) = (%s, %s, %s)", key)

    missing = {each.subject for each in look_twice(place).findings if each.kind == "missing"}
    assert missing == {record.headers["event_id"].decode() for record in records}


@pytest.mark.parametrize("topic", [RAW, CLEAN, LOADED])
def test_a_record_that_is_there_twice_is_told(place: AuditTarget, connection: Connection, topic: str) -> None:
    edit(connection, topic, doubled(fact_id(connection)))

    assert findings(place) == {("twice", topic)}


def test_a_version_taken_out_of_the_table_is_missing_behind_clean_events(
    place: AuditTarget, connection: Connection
) -> None:
    event_id = fact_id(connection)

    connection.execute("DELETE FROM facts.versions WHERE record_id = %s", (event_id,))

    found = look_twice(place).findings
    assert [(each.subject, each.where) for each in found if each.kind == "missing"] == [
        (event_id, "clean-events -> facts")
    ]
    assert {each.where for each in found if each.kind == "rows differ"} == {"facts.events", "facts.observations"}


def test_a_version_that_is_there_twice_is_told(place: AuditTarget, connection: Connection) -> None:
    connection.execute(
        "INSERT INTO facts.versions (event_id, kind, version, known_at, revision, record_id, body, told)"
        " SELECT event_id, kind, version + 1, known_at, revision, record_id, body, told FROM facts.versions"
        " WHERE record_id = %s",
        (fact_id(connection),),
    )

    assert ("twice", "facts.versions") in findings(place)


@pytest.mark.parametrize("table", ROW_TABLES)
def test_a_row_taken_out_of_a_table_differs_from_the_versions(
    place: AuditTarget, connection: Connection, table: str
) -> None:
    connection.execute(
        f"DELETE FROM facts.{table} WHERE ctid = (SELECT ctid FROM facts.{table} ORDER BY event_id LIMIT 1)"
    )

    assert findings(place) == {("rows differ", f"facts.{table}")}


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE facts.events SET status = 'void'",
        "UPDATE facts.outcomes SET place = place + 1",
        "UPDATE facts.entries SET measures = '{}'",
        "UPDATE facts.transactions SET amount = amount + 10",
    ],
)
def test_a_row_that_was_changed_differs_from_the_versions(
    place: AuditTarget, connection: Connection, change: str
) -> None:
    event = connection.execute("SELECT min(id) FROM facts.events").fetchone()
    key = "id" if "facts.events" in change else "event_id"

    connection.execute(f"{change} WHERE {key} = %s", event)

    assert findings(place) == {("rows differ", change.split()[1])}


def test_base_data_that_was_changed_is_missing_behind_clean_events(place: AuditTarget, connection: Connection) -> None:
    connection.execute("UPDATE facts.venues SET name = 'elsewhere' WHERE code = '9'")

    assert findings(place) == {("missing", "clean-events -> facts")}


def test_a_prediction_without_its_row_is_missing(place: AuditTarget, connection: Connection) -> None:
    connection.execute(
        "DELETE FROM facts.predictions WHERE record_id = (SELECT min(record_id::text)::uuid FROM facts.predictions)"
    )

    assert findings(place) == {("missing", "predictions -> facts")}


def test_a_prediction_taken_out_of_the_topic_is_missing_there(place: AuditTarget, connection: Connection) -> None:
    edit(connection, PREDICTIONS, without(ids_in(connection, PREDICTIONS)[0]))

    assert findings(place) == {("missing", "predictor -> predictions"), ("hole", PREDICTIONS)}


def test_a_prediction_that_was_not_read_yet_is_in_flight(place: AuditTarget, copy_url: str) -> None:
    predict(copy_url, [f"boatrace:{DAYS[0]}:09:04"])

    look = look_twice(place)

    assert look.findings == []
    assert look.hops["predictions -> facts"].in_flight == 1


def test_a_document_taken_out_of_the_archive_is_told(place: AuditTarget) -> None:
    assert place.archive is not None
    document = next(place.archive.glob("*/*.zst"))

    document.unlink()

    assert findings(place) == {("unarchived", "archive")}


def test_without_the_archive_what_is_loaded_still_misses_its_raw_record(
    place: AuditTarget, connection: Connection
) -> None:
    edit(connection, RAW, without(fact_id(connection)))

    assert ("missing", "the source -> raw-events") in findings(replace(place, archive=None))


def test_what_lies_beyond_a_position_is_in_flight(place: AuditTarget, connection: Connection) -> None:
    connection.execute("UPDATE broker.positions SET next_off = 0 WHERE grp = 'loader'")
    connection.execute("TRUNCATE facts.versions, facts.events, facts.sessions CASCADE")

    look = look_twice(replace(place, archive=None))

    assert (look.findings, counts(look)) == ([], {"in flight": FACTS + BASE_TABLES})


def test_what_stopped_in_the_cleaner_without_a_reason_is_missing_behind_raw_events(
    place: AuditTarget, connection: Connection
) -> None:
    event_id = fact_id(connection, "settled")
    edit(connection, CLEAN, without(event_id))
    connection.execute("DELETE FROM facts.versions WHERE record_id = %s", (event_id,))

    found = [each for each in look_twice(place).findings if each.kind == "missing"]

    assert [(each.subject, each.where) for each in found] == [(event_id, "raw-events -> clean-events")]


def test_days_are_the_events_own(place: AuditTarget, connection: Connection) -> None:
    (key,) = connection.execute(
        "SELECT e.event_key FROM facts.versions v JOIN facts.events e ON e.id = v.event_id WHERE v.record_id = %s",
        (fact_id(connection),),
    ).fetchone() or ("",)
    day = date.fromisoformat(str(key).split(":")[1])
    (other,) = set(DAYS) - {day}
    edit(connection, CLEAN, without(fact_id(connection)))

    look = look_twice(place, AuditWindow(first=other, last=other))

    assert look.findings == []
    assert counts(look) == {"loaded": FACTS / 2 + BASE_TABLES}
    assert findings(place, AuditWindow(first=day, last=day)) == {("missing", "raw-events -> clean-events")}


def test_a_time_is_that_of_fetching(place: AuditTarget, connection: Connection) -> None:
    now = datetime.now(UTC)
    earlier, later = (int((now + timedelta(hours=hours)).timestamp() * 1000) for hours in (-1, 1))
    edit(connection, CLEAN, without(fact_id(connection)))

    nothing = look_twice(place, AuditWindow(from_ms=later))
    everything = look_twice(place, AuditWindow(from_ms=earlier, to_ms=later))

    assert (nothing.fates, nothing.findings) == ({}, [])
    assert counts(everything) == {"loaded": FACTS + BASE_TABLES - 1, "missing": 1}
    assert [each.where for each in everything.findings] == ["raw-events -> clean-events"]


def test_what_retention_threw_away_is_not_missing(place: AuditTarget, connection: Connection) -> None:
    for topic in (RAW, CLEAN, LOADED):
        connection.execute(
            "WITH topic AS (SELECT id FROM broker.topics WHERE name = %s), gone AS (DELETE FROM broker.log"
            " WHERE topic_id = (SELECT id FROM topic))"
            " UPDATE broker.partitions SET begin_off = end_off WHERE topic_id = (SELECT id FROM topic)",
            (topic,),
        )

    look = look_twice(place)

    assert look.findings == []
    assert counts(look) == {"loaded": FACTS}
