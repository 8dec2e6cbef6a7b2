"""An audit of a real run, complete and damaged at each hop: it finds each loss at its hop, and nothing else."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

import psycopg
import pytest

from headrace.audit.audit_pass import AuditTarget
from headrace.audit.window import AuditWindow
from shared.topics import CLEAN, LOADED, PREDICTIONS, RAW
from tests.headrace.audit.pipeline import audit_now, batches, counts, doubled, edit, findings, ids_in, predict, without
from tests.headrace.runs import DAYS, RACES

pytestmark = pytest.mark.slow
Connection = psycopg.Connection[Any]
REFERENCE_TABLES = 9
FACTS = 3 * len(DAYS) * RACES
ROW_TABLES = ("entries", "observations", "outcomes", "transactions")


def fact_id(connection: Connection, kind: str = "observed") -> str:
    query = "SELECT record_id::text FROM facts.versions WHERE kind = %s ORDER BY 1 LIMIT 1"
    (event_id,) = connection.execute(query, (kind,)).fetchone() or ("",)
    return str(event_id)


def test_a_run_without_losses_has_no_findings(target: AuditTarget) -> None:
    result = audit_now(target)

    assert result.findings == []
    assert counts(result) == {"loaded": FACTS + REFERENCE_TABLES}
    assert {name: (hop.expected, hop.arrived) for name, hop in result.hops.items()} == {
        "facts -> loaded-events": (FACTS, FACTS),
        "predictions -> facts": (3, 3),
        "dead letters -> facts": (0, 0),
    }
    assert (result.windows, result.unfollowed) == (3 * len(DAYS), 0)


@pytest.mark.parametrize(
    ("topic", "hop"),
    [(RAW, "archive -> raw-events"), (CLEAN, "raw-events -> clean-events"), (LOADED, "facts -> loaded-events")],
)
def test_a_record_removed_from_a_topic_is_missing_there(
    target: AuditTarget, connection: Connection, topic: str, hop: str
) -> None:
    event_id = fact_id(connection)

    edit(connection, topic, without(event_id))

    all_findings = audit_now(target).findings
    assert {(each.kind, each.where) for each in all_findings} == {("missing", hop), ("hole", topic)}
    assert [each.subject for each in all_findings if each.kind == "missing"] == [event_id]


def test_each_record_of_a_batch_removed_from_the_log_is_missing(target: AuditTarget, connection: Connection) -> None:
    key, records = batches(connection, CLEAN)[0]

    connection.execute("DELETE FROM broker.log WHERE (topic_id, p, base_off) = (%s, %s, %s)", key)

    missing = {each.subject for each in audit_now(target).findings if each.kind == "missing"}
    assert missing == {record.headers["event_id"].decode() for record in records}


@pytest.mark.parametrize("topic", [RAW, CLEAN, LOADED])
def test_a_duplicate_record_is_found(target: AuditTarget, connection: Connection, topic: str) -> None:
    edit(connection, topic, doubled(fact_id(connection)))

    assert findings(target) == {("twice", topic)}


def test_a_version_removed_from_the_table_is_missing_after_clean_events(
    target: AuditTarget, connection: Connection
) -> None:
    event_id = fact_id(connection)

    connection.execute("DELETE FROM facts.versions WHERE record_id = %s", (event_id,))

    all_findings = audit_now(target).findings
    assert [(each.subject, each.where) for each in all_findings if each.kind == "missing"] == [
        (event_id, "clean-events -> facts")
    ]
    assert {each.where for each in all_findings if each.kind == "rows differ"} == {"facts.events", "facts.observations"}


def test_a_duplicate_version_is_found(target: AuditTarget, connection: Connection) -> None:
    connection.execute(
        "INSERT INTO facts.versions (event_id, kind, version, known_at, revision, record_id, body, told)"
        " SELECT event_id, kind, version + 1, known_at, revision, record_id, body, told FROM facts.versions"
        " WHERE record_id = %s",
        (fact_id(connection),),
    )

    assert ("twice", "facts.versions") in findings(target)


@pytest.mark.parametrize("table", ROW_TABLES)
def test_a_row_removed_from_a_table_differs_from_the_versions(
    target: AuditTarget, connection: Connection, table: str
) -> None:
    connection.execute(
        f"DELETE FROM facts.{table} WHERE ctid = (SELECT ctid FROM facts.{table} ORDER BY event_id LIMIT 1)"
    )

    assert findings(target) == {("rows differ", f"facts.{table}")}


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE facts.events SET status = 'void'",
        "UPDATE facts.outcomes SET place = place + 1",
        "UPDATE facts.entries SET measures = '{}'",
        "UPDATE facts.transactions SET amount = amount + 10",
    ],
)
def test_a_changed_row_differs_from_the_versions(target: AuditTarget, connection: Connection, change: str) -> None:
    event = connection.execute("SELECT min(id) FROM facts.events").fetchone()
    key = "id" if "facts.events" in change else "event_id"

    connection.execute(f"{change} WHERE {key} = %s", event)

    assert findings(target) == {("rows differ", change.split()[1])}


def test_changed_reference_data_is_missing_after_clean_events(target: AuditTarget, connection: Connection) -> None:
    connection.execute("UPDATE facts.venues SET name = 'elsewhere' WHERE code = '9'")

    assert findings(target) == {("missing", "clean-events -> facts")}


def test_a_prediction_without_its_row_is_missing(target: AuditTarget, connection: Connection) -> None:
    connection.execute(
        "DELETE FROM facts.predictions WHERE record_id = (SELECT min(record_id::text)::uuid FROM facts.predictions)"
    )

    assert findings(target) == {("missing", "predictions -> facts")}


def test_a_prediction_removed_from_the_topic_is_missing_there(target: AuditTarget, connection: Connection) -> None:
    edit(connection, PREDICTIONS, without(ids_in(connection, PREDICTIONS)[0]))

    assert findings(target) == {("missing", "predictor -> predictions"), ("hole", PREDICTIONS)}


def test_a_prediction_that_the_loader_has_not_read_is_in_flight(target: AuditTarget, copy_url: str) -> None:
    predict(copy_url, [f"boatrace:{DAYS[0]}:09:04"])

    result = audit_now(target)

    assert result.findings == []
    assert result.hops["predictions -> facts"].in_flight == 1


def test_a_document_removed_from_the_archive_is_found(target: AuditTarget) -> None:
    assert target.archive is not None
    document = next(target.archive.glob("*/*.zst"))

    document.unlink()

    assert findings(target) == {("unarchived", "archive")}


def test_without_the_archive_a_loaded_record_without_its_raw_record_is_found(
    target: AuditTarget, connection: Connection
) -> None:
    edit(connection, RAW, without(fact_id(connection)))

    assert ("missing", "the source -> raw-events") in findings(replace(target, archive=None))


def test_records_after_a_position_are_in_flight(target: AuditTarget, connection: Connection) -> None:
    connection.execute("UPDATE broker.positions SET next_off = 0 WHERE grp = 'loader'")
    connection.execute("TRUNCATE facts.versions, facts.events, facts.sessions CASCADE")

    result = audit_now(replace(target, archive=None))

    assert (result.findings, counts(result)) == ([], {"in flight": FACTS + REFERENCE_TABLES})


def test_a_record_that_the_cleaner_dropped_without_a_reason_is_missing_after_raw_events(
    target: AuditTarget, connection: Connection
) -> None:
    event_id = fact_id(connection, "settled")
    edit(connection, CLEAN, without(event_id))
    connection.execute("DELETE FROM facts.versions WHERE record_id = %s", (event_id,))

    missing = [each for each in audit_now(target).findings if each.kind == "missing"]

    assert [(each.subject, each.where) for each in missing] == [(event_id, "raw-events -> clean-events")]


def test_days_select_by_the_day_of_the_event(target: AuditTarget, connection: Connection) -> None:
    (key,) = connection.execute(
        "SELECT e.event_key FROM facts.versions v JOIN facts.events e ON e.id = v.event_id WHERE v.record_id = %s",
        (fact_id(connection),),
    ).fetchone() or ("",)
    day = date.fromisoformat(str(key).split(":")[1])
    (other,) = set(DAYS) - {day}
    edit(connection, CLEAN, without(fact_id(connection)))

    result = audit_now(target, AuditWindow(first=other, last=other))

    assert result.findings == []
    assert counts(result) == {"loaded": FACTS / 2 + REFERENCE_TABLES}
    assert findings(target, AuditWindow(first=day, last=day)) == {("missing", "raw-events -> clean-events")}


def test_times_select_by_the_time_of_fetching(target: AuditTarget, connection: Connection) -> None:
    now = datetime.now(UTC)
    earlier, later = (int((now + timedelta(hours=hours)).timestamp() * 1000) for hours in (-1, 1))
    edit(connection, CLEAN, without(fact_id(connection)))

    nothing = audit_now(target, AuditWindow(from_ms=later))
    everything = audit_now(target, AuditWindow(from_ms=earlier, to_ms=later))

    assert (nothing.fates, nothing.findings) == ({}, [])
    assert counts(everything) == {"loaded": FACTS + REFERENCE_TABLES - 1, "missing": 1}
    assert [each.where for each in everything.findings] == ["raw-events -> clean-events"]


def test_records_removed_by_retention_are_not_missing(target: AuditTarget, connection: Connection) -> None:
    for topic in (RAW, CLEAN, LOADED):
        connection.execute(
            "WITH topic AS (SELECT id FROM broker.topics WHERE name = %s), gone AS (DELETE FROM broker.log"
            " WHERE topic_id = (SELECT id FROM topic))"
            " UPDATE broker.partitions SET begin_off = end_off WHERE topic_id = (SELECT id FROM topic)",
            (topic,),
        )

    result = audit_now(target)

    assert result.findings == []
    assert counts(result) == {"loaded": FACTS}
