"""The operator's commands on a running pipeline: real processes, the real REST API, simulated days."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

import psycopg
import pytest

from headrace.cli import command
from headrace.database.access import open_database
from headrace.database.embedded import EmbeddedPostgres
from shared.broker.contract import Loss, NewRecord, TopicPartition
from shared.broker.postgres.broker import PostgresBroker
from shared.broker.postgres.losses import settle
from shared.settings.sections import Settings
from shared.topics import RAW
from tests.headrace.runs import DAYS, RACES, run_once, status, until, write_archive
from tests.headrace.runs import command as run_command
from tests.waiting import wait_until

pytestmark = pytest.mark.slow
CommandResult = tuple[int, str, str]
Headrace = Callable[..., CommandResult]
RECORDS = 3 * len(DAYS) * RACES + 9
LIMIT_S = 30.0
STOP_S = 60.0


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_archive(tmp_path_factory.mktemp("archive"))


@pytest.fixture(scope="module")
def data_dir(archive: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The data directory of a run that continues; everything is loaded."""
    data_dir = tmp_path_factory.mktemp("operated") / "data"
    run_once(archive, data_dir)
    process = subprocess.Popen(
        run_command(archive, data_dir), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    try:
        until(lambda: _is_up(data_dir), process, data_dir)
        yield data_dir
    finally:
        process.terminate()
        process.communicate(timeout=STOP_S)


def _is_up(data_dir: Path) -> bool:
    return all(each["ready"] for each in status(data_dir))


@pytest.fixture
def headrace(data_dir: Path, capfd: pytest.CaptureFixture[str]) -> Headrace:
    return _caller(data_dir, capfd)


def _caller(data_dir: Path, capfd: pytest.CaptureFixture[str]) -> Headrace:
    def run(*arguments: str) -> CommandResult:
        capfd.readouterr()
        code = command([*arguments, "--data-dir", str(data_dir)])
        return code, *capfd.readouterr()

    return run


def as_json(result: CommandResult) -> Any:
    code, out, err = result
    assert code == 0, err
    return json.loads(out)


def test_a_pause_lasts_until_it_is_resumed(headrace: Headrace) -> None:
    paused = as_json(headrace("pause", "cleaner", RAW, "--reason", "a test", "--wait", "--output", "json"))
    assert (paused["kind"], paused["state"]) == ("pause", "succeeded")
    assert "paused         cleaner on raw-events, by file token: a test" in headrace("status")[1]

    resumed = as_json(headrace("resume", "cleaner", "--all", "--wait", "--output", "json"))
    assert (resumed["kind"], resumed["state"]) == ("resume", "succeeded")
    assert "paused" not in headrace("status")[1]


def test_a_replay_handles_exactly_the_records_of_its_plan(headrace: Headrace) -> None:
    plan = as_json(
        headrace("replay", "cleaner", RAW, "--key", f"boatrace:{DAYS[0]}:*", "--dry-run", "--output", "json")
    )
    assert plan["records"] == 3 * RACES

    operation = as_json(headrace("replay", "cleaner", "--plan", plan["plan_id"], "--wait", "--output", "json"))
    assert (operation["state"], operation["counts"]["selected"]) == ("succeeded", 3 * RACES)

    code, _, err = headrace("replay", "cleaner", "--plan", plan["plan_id"])
    assert (code, err.count("\n")) == (1, 1)
    assert "headrace: the cleaner refused the request (409)" in err


def test_a_replay_is_listed_in_the_operations_and_in_the_trail(headrace: Headrace) -> None:
    operation = as_json(headrace("replay", "cleaner", RAW, "--offsets", "0:0-1", "--wait", "--output", "json"))

    shown = json.loads(headrace("operations", "show", "cleaner", str(int(operation["id"])))[1])
    assert shown["id"] == operation["id"]
    listed = as_json(headrace("operations", "list", "cleaner", "--kind", "replay", "--output", "json"))
    assert operation["id"] in {each["id"] for each in listed}
    assert headrace("operations", "wait", "cleaner", operation["id"])[0] == 0
    trail = as_json(headrace("trail", "cleaner", "--output", "json"))
    assert ("replay", "accepted") in {(line["action"], line["outcome"]) for line in trail}


def test_an_operation_that_has_ended_cannot_be_cancelled(headrace: Headrace) -> None:
    operation = as_json(headrace("replay", "cleaner", RAW, "--offsets", "0:0-1", "--wait", "--output", "json"))

    code, _, err = headrace("operations", "cancel", "cleaner", operation["id"])

    assert code == 1
    assert "has already ended: succeeded" in err


def test_lag_lists_every_partition_of_every_service(headrace: Headrace) -> None:
    lag = as_json(headrace("lag", "--output", "json"))

    raw = [each for each in lag if (each["service"], each["topic"]) == ("cleaner", RAW)]
    assert sum(each["position"] for each in raw) >= RECORDS
    assert {each["service"] for each in lag} == {"cleaner", "loader", "predictor", "notifier"}


def test_windows_can_be_listed_fetched_again_and_exported(headrace: Headrace) -> None:
    windows = as_json(headrace("windows", "--from", str(DAYS[0]), "--to", str(DAYS[0]), "--output", "json"))
    assert {each["feed"]: each["state"] for each in windows["windows"]} == dict.fromkeys(
        ("programs", "previews", "results"), "done"
    )

    backfill = ("backfill", "--from", str(DAYS[0]), "--again", "--wait", "--output", "json")
    assert as_json(headrace(*backfill))["counts"]["done"] == 3
    export = ("export", "--from", str(DAYS[0]), "--to", str(DAYS[1]), "--wait", "--output", "json")
    assert as_json(headrace(*export))["state"] == "succeeded"


def test_gaps_suspect_windows_changes_and_the_plan_of_a_backfill_are_listed(headrace: Headrace) -> None:
    days = ("--from", str(DAYS[0]), "--to", str(DAYS[0]))

    code, gaps, _ = headrace("windows", *days, "--gaps")
    plan = as_json(headrace("backfill", *days, "--again", "--order", "newest", "--dry-run", "--output", "json"))
    refused = headrace("windows", "accept", "results", "--reason", "no races")

    assert (code, gaps) == (0, "no gaps\n")
    assert [each["feed"] for each in plan["windows"]] == ["programs", "previews", "results"]
    assert headrace("windows", "--suspect")[1] == "no windows\n"
    assert headrace("windows", "changes")[1] == "no changes\n"
    assert refused[0] != 0
    assert "expected FEED/YYYY-MM-DD" in refused[2]


def test_days_are_replayed_from_the_archive_of_documents(headrace: Headrace) -> None:
    replay = ("replay", "fetcher", "--from-archive", "--from", str(DAYS[0]), "--to", str(DAYS[0]), "--output", "json")
    plan = as_json(headrace(*replay, "--dry-run"))
    assert (plan["selected"], len(plan["windows"])) == (3 * RACES, 3)

    assert as_json(headrace(*replay, "--wait"))["state"] == "succeeded"
    audit = as_json(headrace("audit", "--output", "json"))
    assert (audit["fetched"], audit["missing"], audit["twice"]) == (RECORDS, 0, 0)


def test_a_dead_letter_is_listed_shown_counted_redriven_and_discarded(headrace: Headrace, data_dir: Path) -> None:
    _append_invalid_record(data_dir)
    listing = ("dead-letters", "list", "cleaner", "--state", "open", "--output", "json")
    [letter] = wait_until(lambda: as_json(headrace(*listing))["dead_letters"])

    shown = json.loads(headrace("dead-letters", "show", "cleaner", letter["id"])[1])
    assert shown["payload"]["value"] == "no JSON"
    assert as_json(headrace("dead-letters", "facets", "cleaner", "--output", "json"))["causes"][0]["records"] == 1
    dry_run = as_json(headrace("dead-letters", "redrive", "cleaner", "--all", "--dry-run", "--output", "json"))
    assert dry_run["counts"]["selected"] == 1
    redrive = headrace("dead-letters", "redrive", "cleaner", letter["id"], "--wait", "--output", "json")
    assert as_json(redrive)["state"] == "succeeded"
    [second_letter] = wait_until(lambda: as_json(headrace(*listing))["dead_letters"])
    assert (second_letter["redrives"], second_letter["id"] == letter["id"]) == (1, False)
    code, _, err = headrace("dead-letters", "discard", "cleaner", second_letter["id"], "--reason", "synthetic")
    assert (code, as_json(headrace(*listing))["dead_letters"]) == (0, []), err
    audit = as_json(headrace("audit", "--output", "json"))
    assert (audit["counts"]["dead"], audit["counts"]["missing"]) == (1, 0)


def _append_invalid_record(data_dir: Path) -> None:
    broker = PostgresBroker(EmbeddedPostgres(data_dir).url_with_password())
    headers = {"event_id": b"00000000-0000-0000-0000-000000000007", "schema": b"raw-event/1", "revision": b"0"}
    producer = broker.producer("test")
    with producer.unit() as unit:
        unit.append([NewRecord(RAW, b"boatrace:2026-01-05:09:01", b"no JSON", headers)])
        unit.commit()
    producer.close()
    broker.close()


def test_an_audit_after_these_operations_finds_nothing_missing(headrace: Headrace) -> None:
    code, out, err = headrace("audit", "--output", "json", "--no-archive", "--list", "loaded", "--page-size", "5")

    audit = json.loads(out)
    assert (code, audit["difference"], audit["missing"], audit["twice"]) == (0, 0, 0, 0), err
    assert (audit["list"]["total"], len(audit["list"]["items"])) == (audit["counts"]["loaded"], 5)


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("pause", "cleaner"), 2, "expected one or more of"),
        (("pause", "cleaner", "predictions"), 2, "has no topic 'predictions'"),
        (("replay", "cleaner"), 2, "which topic?"),
        (("replay", "cleaner", RAW, "--offsets", "0:x"), 2, "expected PARTITION:BEGIN-END"),
        (("replay", "cleaner", RAW, "--plan", "1", "--dry-run"), 2, "--plan is executed as it is"),
        (("dead-letters", "redrive", "cleaner"), 2, "which ones?"),
        (("dead-letters", "show", "cleaner", "x"), 2, "expected PARTITION/OFFSET"),
        (("operations", "show", "cleaner", "x"), 2, "expected a number"),
        (("operations", "show", "cleaner", "999"), 1, "no operation 000000000999"),
        (("export",), 2, "which days?"),
        (("audit", "--list", "lost"), 2, "expected one of loaded"),
        (("lag", "--url", "ftp://x"), 2, "expected http"),
    ],
)
def test_invalid_arguments_are_reported_in_one_line(
    headrace: Headrace, arguments: tuple[str, ...], code: int, message: str
) -> None:
    exit_code, _, err = headrace(*arguments)

    assert (exit_code, err.count("\n")) == (code, 1)
    assert message in err


@pytest.fixture(scope="module")
def stopped(archive: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A data directory whose database runs and whose services do not."""
    data_dir = tmp_path_factory.mktemp("stopped") / "data"
    run_once(archive, data_dir)
    with open_database(Settings(data_dir=data_dir)):
        yield data_dir


def test_a_service_that_does_not_run_can_be_paused(stopped: Path, capfd: pytest.CaptureFixture[str]) -> None:
    headrace = _caller(stopped, capfd)

    code, _, err = headrace("pause", "cleaner", RAW, "--reason", "before the start")
    assert (code, err) == (0, "the cleaner is not running; it will be paused on raw-events when it is started\n")
    assert "cleaner on raw-events, by command:" in headrace("status")[1]
    with psycopg.connect(EmbeddedPostgres(stopped).url_with_password()) as connection:
        assert connection.execute("SELECT action, target, outcome FROM ops.audit").fetchall() == [
            ("pause", RAW, "accepted")
        ]
    assert "is not running and cannot obey" in headrace("pause", "cleaner", RAW, "--wait")[2]
    assert "the cleaner is not running: `headrace run` starts it" in headrace("replay", "cleaner", RAW)[2]


def test_a_loss_is_accepted_while_the_service_does_not_run(stopped: Path, capfd: pytest.CaptureFixture[str]) -> None:
    headrace, lost = _caller(stopped, capfd), TopicPartition(RAW, 1)
    assert "does not wait" in headrace("resume", "--accept-loss", "cleaner", RAW, "1")[2]
    assert "expected no topic" in headrace("resume", "--accept-loss", "cleaner", RAW)[2]
    with psycopg.connect(EmbeddedPostgres(stopped).url_with_password()) as connection:
        settle(connection, "cleaner", {lost: Loss("removed", 100, UUID(int=1), 180, 80, "gone")})

    code, out, _ = headrace("resume", "--accept-loss", "cleaner", RAW, "1")

    assert (code, out) == (0, "raw-events/1: the cleaner continues at offset 180 (was at 100, removed)\n")
    with psycopg.connect(EmbeddedPostgres(stopped).url_with_password()) as connection:
        trail = connection.execute("SELECT target FROM ops.audit WHERE action = 'accept loss'").fetchall()
    assert trail == [("raw-events/1",)]


def test_an_audit_with_findings_exits_with_1_and_lists_them(stopped: Path, capfd: pytest.CaptureFixture[str]) -> None:
    headrace, (first, last) = _caller(stopped, capfd), DAYS
    with psycopg.connect(EmbeddedPostgres(stopped).url_with_password(), autocommit=True) as connection:
        deleted = connection.execute(
            "DELETE FROM facts.versions v USING facts.events e WHERE e.id = v.event_id AND v.kind = 'settled'"
            " AND e.event_key = (SELECT min(event_key) FROM facts.events) RETURNING v.record_id::text"
        ).fetchall()

    code, out, err = headrace("audit", "--from", str(first), "--to", str(first), "--list", "missing", "-o", "json")
    audit = json.loads(out)
    assert (code, audit["missing"], audit["rows_differ"], audit["ok"]) == (1, 1, 3, False), err
    assert [(each["event_id"],) for each in audit["list"]["items"]] == deleted
    assert "MISSING  1 clean-events -> facts" in headrace("audit")[1]
    assert headrace("audit", "--from", str(last), "--to", str(last))[0] == 0
