"""Everything that an operator does, on a PostgreSQL given by URL, with the login of each service: nothing is refused.

The tests run in order on one installation for each broker. After each of them, the logs of the database and of all
services must have no error about a lack of rights.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import pytest

from headrace.frames import connect
from headrace.run.programs import python
from shared.broker.contract import NewRecord, Record
from shared.topics import CLEAN, LOADED, PREDICTIONS, RAW, SERVICES
from tests.headrace.logins.installation import DAYS, OWN_DAYS, Installation, OwnLogins, installation
from tests.headrace.runs import RACES
from tests.kafka.use import KafkaInUse
from tests.services.notifier.http_receiver import Answer, Receiver, receiving
from tests.shared.runtime.loop_harness import append
from tests.waiting import wait_until

with warnings.catch_warnings():
    # discord.py imports audioop, which Python 3.13 dropped and 3.11 warns of.
    warnings.simplefilter("ignore", DeprecationWarning)
    from simulator.discord.fake import FakeDiscord
    from simulator.discord.fake_interaction import FakeInteraction

pytestmark = [pytest.mark.long, pytest.mark.timeout(1800)]
SLOW_S = 120.0
# A header that marks the copy of a record.
COPY = "test-copy"
FIRST, LAST = DAYS[0].isoformat(), DAYS[-1].isoformat()
READS = {"cleaner": RAW, "loader": CLEAN, "predictor": LOADED, "notifier": PREDICTIONS}
# Commands that need no preparation and leave nothing to wait for.
COMMANDS = (
    "status",
    "lag",
    "lag loader --partitions",
    "trail",
    "windows",
    "windows --gaps",
    "windows changes",
    f"quality --from {FIRST} --to {LAST} --record",
    "topics list",
    "topics tail raw-events -n 3",
    "gates list",
    "operations list",
    "alerts list",
    "alerts mutes",
    "notifications list",
    "rules check",
    f"rules test --from {LAST} --to {LAST}",
    "config show",
    "token create made-up --scope operate",
    "token rotate made-up",
    "token list",
    "token revoke made-up",
    "notifications hold --reason test",
    "notifications release",
    "db verify",
    "db rebuild",
    "db pack-predictions",
    "migrate",
    "migrate --check",
)


@dataclass
class Site:
    """An installation whose services run, the receiver of its messages and its Discord."""

    installation: Installation
    receiver: Receiver
    fake: FakeDiscord
    is_embedded: bool


@pytest.fixture(scope="module", params=["embedded", pytest.param("kafka", marks=pytest.mark.kafka)])
def site(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("own-logins")
    is_embedded = request.param == "embedded"
    with receiving() as receiver, FakeDiscord(first_answer_s=SLOW_S) as fake:
        fake.person("Olga", ["operator"])
        (folder / "webhook").write_text(receiver.url)
        notifier = {"HEADRACE_NOTIFIER__WEBHOOK_URL_FILE": str(folder / "webhook")} | bot_environment(fake, folder)
        if is_embedded:
            with installation(folder, "embedded", notifier) as prepared:
                yield started(Site(prepared, receiver, fake, is_embedded), folder)
            return
        kafka: KafkaInUse = request.getfixturevalue("kafka")
        with kafka.empty(), installation(folder, f"kafka://{kafka.bootstrap}", notifier) as prepared:
            yield started(Site(prepared, receiver, fake, is_embedded), folder)


def bot_environment(fake: FakeDiscord, folder: Path) -> dict[str, str]:
    (folder / "bot-token").write_text(fake.token)
    settings = {
        "BOT_TOKEN_FILE": folder / "bot-token",
        "BOT_API_TOKEN_FILE": folder / "bot-api-token",
        "BOT_GUILD_ID": fake.guild_id,
        "BOT_CHANNEL": fake.channel("races").id,
        "BOT_BOARD_CHANNEL": fake.channel("board").id,
        "BOT_ROLES": f"{fake.role('operator').id}=operate",
        "DISCORD_BASE_URL": fake.api_url,
        "DISCORD_GATEWAY_URL": fake.gateway_url,
    }
    return {f"HEADRACE_NOTIFIER__{name}": str(value) for name, value in settings.items()}


def started(site: Site, folder: Path) -> Site:
    token = site.installation.headrace("token", "create", "bot", "--scope", "operate", "--delegate")
    (folder / "bot-api-token").write_text(token)
    site.installation.start()
    return site


@pytest.fixture
def headrace(site: Site) -> Iterator[Installation]:
    yield site.installation
    assert site.installation.refusals() == []


def settled_events(headrace: Installation) -> int:
    [(count,)] = headrace.rows("SELECT count(*) FROM analytics.events WHERE status = 'settled'")
    return int(count)


def open_letters(headrace: Installation, service: str) -> list[dict[str, Any]]:
    listed = headrace.headrace_json("dead-letters", "list", service)
    return [letter for letter in listed["dead_letters"] if letter["state"] == "open"]


def test_each_service_has_its_own_login(headrace: Installation) -> None:
    logins = headrace.rows(
        "SELECT DISTINCT split_part(application_name, ' ', 2), usename FROM pg_stat_activity"
        " WHERE application_name LIKE 'headrace %' AND usename <> current_user"
    )

    assert {login for _, login in logins} == {f"headrace_{service}" for service in SERVICES}
    assert headrace.rows("SELECT rolsuper FROM pg_roles WHERE rolname = current_user") == [(False,)]


def test_the_days_of_the_fetcher_are_loaded(headrace: Installation) -> None:
    headrace.until(lambda: settled_events(headrace) == len(OWN_DAYS) * RACES, "the rows of the own days")


def test_earlier_days_are_back_filled(headrace: Installation) -> None:
    headrace.headrace("backfill", "--from", FIRST, "--to", DAYS[-3].isoformat(), "--wait")

    headrace.until(lambda: settled_events(headrace) == len(DAYS) * RACES, "the rows of the back-fill")


@pytest.mark.parametrize("service", SERVICES)
def test_a_service_is_paused_and_resumed(headrace: Installation, service: str) -> None:
    headrace.headrace("pause", service, "--all", "--wait", "--reason", "test")
    headrace.headrace("resume", service, "--all", "--wait")


@pytest.mark.parametrize("service", READS)
def test_records_are_replayed(headrace: Installation, service: str) -> None:
    headrace.headrace("replay", service, READS[service], "--wait")


def test_documents_of_the_archive_are_replayed(headrace: Installation) -> None:
    headrace.headrace("replay", "fetcher", "--from-archive", "--from", FIRST, "--to", FIRST, "--wait")


def test_every_record_is_accounted_for(headrace: Installation) -> None:
    """Before other tests append records that no source has given."""
    headrace.headrace("audit", "--record")


@pytest.mark.parametrize("service", READS)
def test_dead_letters_are_redriven_and_discarded(headrace: Installation, service: str) -> None:
    with headrace.broker() as broker:
        append(broker, [NewRecord(READS[service], b"made-up", b"not a message", {})])
    headrace.until(lambda: open_letters(headrace, service), f"a dead letter of the {service}")

    headrace.headrace("dead-letters", "redrive", service, "--all", "--wait")
    headrace.until(lambda: open_letters(headrace, service), "the dead letter of the redriven record")
    headrace.headrace("dead-letters", "discard", service, "--all", "--reason", "test")

    outcomes = headrace.rows("SELECT DISTINCT outcome FROM ops.dead_letters_settled WHERE service = %s", (service,))
    assert set(outcomes) == {("redriven",), ("discarded",)}


def test_a_record_in_quarantine_is_redriven(headrace: Installation) -> None:
    """The notes of two dead processes are made up: a record that ends a process would end this one's replicas too."""
    for program in ("cleaner-0", "cleaner-1"):
        headrace.kill(program)
    record = appended_copy(headrace)
    headrace.execute(
        "INSERT INTO ops.attempts AS a (service, topic, p, incarnation, deaths, at_offset)"
        " VALUES ('cleaner', %s, %s, gen_random_uuid(), 2, %s) ON CONFLICT (service, topic, p)"
        " DO UPDATE SET deaths = excluded.deaths, at_offset = excluded.at_offset",
        (record.topic, record.partition, record.offset),
    )
    letters = "SELECT FROM facts.dead_letters WHERE service = 'cleaner' AND error LIKE '%ProcessEnded'"
    headrace.until(lambda: headrace.rows(letters), "the dead letter of the record")

    headrace.headrace("dead-letters", "redrive", "cleaner", "--all", "--wait")

    headrace.until(lambda: not open_letters(headrace, "cleaner"), "the end of the quarantine")


def appended_copy(headrace: Installation) -> Record:
    """A copy of a raw record at the end of its partition."""
    with headrace.broker() as broker, closing(broker.reader(broker.partitions(RAW))) as reader:
        [original] = wait_until(lambda: reader.poll(1.0, 1), "a raw record")
        headers = {**original.headers, COPY: b""}
        append(broker, [NewRecord(RAW, original.key, original.value, headers, original.partition)])
        return wait_until(
            lambda: next((each for each in reader.poll(1.0, 1000) if COPY in each.headers), None), "the copy"
        )


def test_models_are_trained_promoted_and_deleted(headrace: Installation) -> None:
    trained = headrace.headrace_json("train")
    second = headrace.headrace_json("train", "--seed", "8", "--no-promote")["version"]
    assert trained["version"] != second

    headrace.headrace("promote", second, "--force", "--reason", "test")
    headrace.headrace("rollback", "--reason", "test")
    headrace.headrace("models", "shadow", second)
    headrace.headrace("models", "retire", second)
    headrace.headrace("models", "delete", second)
    headrace.headrace("models", "list")


def test_the_model_predicts_and_explains(headrace: Installation) -> None:
    headrace.headrace("replay", "predictor", LOADED, "--wait")
    headrace.until(lambda: headrace.rows("SELECT FROM analytics.predictions LIMIT 1"), "predictions")
    [(event,)] = headrace.rows("SELECT max(event_key) FROM analytics.events")

    headrace.headrace("explain", event)


def test_daily_files_are_written_again(headrace: Installation) -> None:
    files = headrace.data_dir.path / "exports"
    headrace.headrace("export", "--from", FIRST, "--to", LAST, "--wait")

    assert [each for each in files.rglob("*") if FIRST in str(each)]


def test_the_job_of_a_container_trains(headrace: Installation) -> None:
    headrace.run(python("-m", "services.predictor.jobs.train_once"), headrace.environment_of("predictor"))


def test_a_message_is_tested_retried_and_discarded(site: Site, headrace: Installation) -> None:
    with headrace.api("notifier") as api:
        assert state_of_test_message(headrace, api) == "succeeded"
        site.receiver.usual = Answer(400)
        assert state_of_test_message(headrace, api) == "failed"
        assert state_of_test_message(headrace, api) == "failed"
        site.receiver.usual = Answer(204)
    [(first,), (second,)] = headrace.rows("SELECT id FROM notifier.ledger WHERE state = 'failed' ORDER BY id")

    headrace.headrace("notifications", "retry", str(first))
    headrace.headrace("notifications", "discard", str(second), "--reason", "test")

    sent = "SELECT FROM notifier.ledger WHERE id = %s AND state = 'sent'"
    headrace.until(lambda: headrace.rows(sent, (first,)), "the message that was sent again")


def test_people_operate_by_the_bot(site: Site, headrace: Installation) -> None:
    site.fake.wait_for(lambda: site.fake.is_connected and bool(site.fake.commands()), "the bot")
    assert "cleaner" in str(use(site, "/status").embeds)
    for command in ("/pause", "/resume"):
        used = use(site, command, {"service": "cleaner", "topic": RAW, "reason": "test"})
        confirm(site, used)
    assert headrace.rows(
        "SELECT FROM ops.audit WHERE who LIKE 'token:bot on behalf of discord:%' AND service = 'cleaner'"
    )


def test_the_reader_reads_by_command_and_frames(headrace: Installation) -> None:
    assert isinstance(headrace.access, OwnLogins)
    reader = headrace.access.reader()
    counted = headrace.headrace("sql", "SELECT count(*) AS n FROM events", "--csv", login=reader)
    owners = headrace.headrace("sql", "SELECT count(*) AS n FROM events", "--csv")

    assert counted == owners
    assert reader.password_file is not None
    password = reader.password_file.read_text()
    with connect(reader.url.replace("@", f":{password}@", 1)) as hr:
        assert len(hr.events()) == len(DAYS) * RACES


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_succeeds(headrace: Installation, command: str) -> None:
    headrace.headrace(*command.split())


def test_the_groups_of_the_log_are_listed(site: Site, headrace: Installation) -> None:
    if site.is_embedded:
        headrace.headrace("groups", "list")


def test_backups_packs_and_pictures_are_written(headrace: Installation, tmp_path: Path) -> None:
    headrace.headrace("backup", str(tmp_path / "backup"))
    headrace.headrace("pack", "create", FIRST, "--to", str(tmp_path / "pack"))
    headrace.headrace("plot", "rates", "--out", str(tmp_path / "rates.svg"))


def test_the_services_stop(headrace: Installation) -> None:
    assert headrace.supervisor.stop(60) == []


def test_the_search_of_the_logs_reports_a_refused_statement(site: Site) -> None:
    """The last test: the others rely on this search."""
    cleaner = site.installation.access.service("cleaner")
    with psycopg.connect(cleaner.conninfo("test")) as connection, pytest.raises(psycopg.errors.InsufficientPrivilege):
        connection.execute("SELECT FROM facts.events")

    assert "permission denied for schema facts" in site.installation.refusals()[0]


def state_of_test_message(headrace: Installation, api: Any) -> str:
    """The state of the operation that sends a test message to the webhook."""
    response = api.post("/v1/test", json={"channels": ["webhook"]}, headers={"Idempotency-Key": str(id(object()))})
    assert response.status_code == 202, response.text
    ended = "SELECT state FROM ops.operations WHERE id = %s AND finished_at IS NOT NULL"
    [(state,)] = headrace.until(lambda: headrace.rows(ended, (response.json()["id"],)), "the end of the test message")
    return str(state)


def use(site: Site, text: str, options: dict[str, Any] | None = None) -> FakeInteraction:
    used = site.fake.slash(site.fake.person("Olga"), site.fake.channel("general"), text, options)
    site.fake.wait_for(lambda: used.is_answered)
    return used


def confirm(site: Site, used: FakeInteraction) -> None:
    site.fake.wait_for(lambda: used.original is not None)
    assert used.original is not None
    buttons = [each for row in site.fake.payload(used.original)["components"] for each in row["components"]]
    [button] = [each for each in buttons if each["label"].startswith("Confirm")]
    site.fake.click(site.fake.person("Olga"), used.original, button["custom_id"])
    site.fake.wait_for(lambda: used.original is not None and "succeeded" in str(used.original.embeds))
