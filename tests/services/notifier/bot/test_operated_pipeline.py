"""People operate a running pipeline through a simulated Discord: real processes, the real REST API, simulated days."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

from headrace.database.access import open_database
from services.notifier.storage.postgres_ledger import NewNotification, record_notifications
from shared.settings.sections import Settings
from tests.headrace.runs import DAYS, command, run_once, status, until, write_archive
from tests.waiting import wait_until

with warnings.catch_warnings():
    # discord.py imports audioop, which Python 3.13 dropped and 3.11 warns of.
    warnings.simplefilter("ignore", DeprecationWarning)
    from simulator.discord.fake import FakeDiscord
    from simulator.discord.fake_interaction import FakeInteraction
    from simulator.discord.faults import Fault

pytestmark = pytest.mark.slow
SLOW_S = 120.0
STOP_S = 60.0
PAUSE = {"service": "cleaner", "topic": "raw-events", "reason": "a test"}


@dataclass
class Operated:
    """A run that continues, with two notifiers, and its Discord."""

    fake: FakeDiscord
    data_dir: Path

    def use(self, person: str, text: str, options: dict[str, Any] | None = None) -> FakeInteraction:
        """Use a command, and wait for its answer."""
        used = self.fake.slash(self.fake.person(person), self.fake.channel("general"), text, options)
        self.fake.wait_for(lambda: used.is_answered)
        return used

    def click(self, person: str, used: FakeInteraction, label: str) -> FakeInteraction:
        """Click the button of an answer that has this label, without waiting."""
        assert used.original is not None
        buttons = [each for row in self.fake.payload(used.original)["components"] for each in row["components"]]
        [button] = [each for each in buttons if each["label"].startswith(label)]
        return self.fake.click(self.fake.person(person), used.original, button["custom_id"])

    def wait_for_title(self, used: FakeInteraction, text: str) -> str:
        """Wait until the answer contains the text; returns the whole first embed as text."""
        self.fake.wait_for(lambda: used.original is not None and text in str(used.original.embeds), f"{text} in {used}")
        return str(used.embeds)

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        with open_database(Settings(data_dir=self.data_dir)) as access, access.connect() as connection:
            return connection.execute(query.encode()).fetchall()

    def end_leases(self) -> None:
        """As if a lease had passed: what was being sent is verified now."""
        with open_database(Settings(data_dir=self.data_dir)) as access, access.connect() as connection:
            connection.execute("UPDATE notifier.ledger SET claimed_at = 'epoch' WHERE state = 'sending'")
            connection.commit()

    def record(self, channel_id: int, texts: Sequence[str]) -> None:
        """Record notifications for a channel of the bot, all at once."""
        notifications = [NewNotification(uuid4(), "test", "made-up", text) for text in texts]
        with open_database(Settings(data_dir=self.data_dir)) as access, access.connect() as connection:
            record_notifications(connection, notifications, [f"discord-bot/channel/{channel_id}"])
            connection.commit()

    def wait_until_sent(self, channel_id: int) -> None:
        open_rows = f"SELECT count(*) FROM notifier.ledger WHERE state <> 'sent' AND channel LIKE '%/{channel_id}'"
        wait_until(lambda: self.rows(open_rows) == [(0,)])

    def kill_leader(self) -> None:
        """Kill the notifier that is the bot, once its session is known to a successor."""
        wait_until(lambda: bool(self.rows("SELECT FROM notifier.bot_state WHERE kind = 'session'")))
        [[leader]] = self.rows(
            "SELECT r.pid FROM pg_locks l JOIN pg_stat_activity a USING (pid), ops.replicas r"
            " WHERE l.locktype = 'advisory' AND r.service = 'notifier'"
            " AND a.application_name = 'headrace notifier bot lock ' || r.replica"
        )
        os.kill(leader, signal.SIGKILL)


@pytest.fixture(scope="module")
def operated(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Operated]:
    archive = write_archive(tmp_path_factory.mktemp("archive"))
    data_dir = tmp_path_factory.mktemp("operated") / "data"
    run_once(archive, data_dir)
    with FakeDiscord(first_answer_s=SLOW_S) as fake:
        fake.person("Olga", ["operator"])
        process = subprocess.Popen(
            command(archive, data_dir, "--replicas", "notifier=2"),
            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=os.environ | bot_environment(fake, data_dir),
        )  # fmt: skip
        try:
            until(lambda: all(each["ready"] for each in status(data_dir)), process, data_dir)
            wait_until(lambda: fake.is_connected and bool(fake.commands()))
            yield Operated(fake, data_dir)
        finally:
            process.terminate()
            process.communicate(timeout=STOP_S)


def bot_environment(fake: FakeDiscord, data_dir: Path) -> dict[str, str]:
    """The settings of the notifier, with a delegate token for the services' API."""
    token_file, api_token_file = data_dir / "bot-token", data_dir / "bot-api-token"
    token_file.write_text(fake.token)
    arguments = ["token", "create", "bot", "--scope", "operate", "--delegate", "--data-dir", str(data_dir)]
    created = subprocess.run([sys.executable, "-m", "headrace", *arguments], capture_output=True, text=True, check=True)
    api_token_file.write_text(created.stdout)
    prefix = "HEADRACE_NOTIFIER__"
    return {
        prefix + "CHANNELS": "console,discord-bot",
        prefix + "BOT_TOKEN_FILE": str(token_file),
        prefix + "BOT_API_TOKEN_FILE": str(api_token_file),
        prefix + "BOT_GUILD_ID": str(fake.guild_id),
        prefix + "BOT_CHANNEL": str(fake.channel("races").id),
        prefix + "BOT_BOARD_CHANNEL": str(fake.channel("board").id),
        prefix + "BOT_ROLES": f"{fake.role('operator').id}=operate",
        prefix + "DISCORD_BASE_URL": fake.api_url,
        prefix + "DISCORD_GATEWAY_URL": fake.gateway_url,
    }


def test_the_status_names_all_stages(operated: Operated) -> None:
    text = str(operated.use("Rita", "/status").embeds)
    assert all(service in text for service in ("fetcher", "cleaner", "loader", "predictor", "notifier"))


def test_the_board_is_pinned_once(operated: Operated) -> None:
    board = operated.fake.channel("board")
    wait_until(lambda: any(each.pinned_at is not None for each in operated.fake.messages(board)))
    assert len([each for each in operated.fake.messages(board) if each.embeds]) == 1


def test_results_of_a_day(operated: Operated) -> None:
    text = str(operated.use("Rita", "/results", {"day": DAYS[0].isoformat()}).embeds)
    assert "trifecta" in text
    assert "12" in text


def test_an_event_is_completed_and_shown(operated: Operated) -> None:
    [[key, day]] = operated.rows("SELECT min(event_key), min(split_part(event_key, ':', 2)) FROM analytics.events")
    used = operated.use("Rita", "/event", {"key": key})
    assert key in str(used.embeds)
    assert "Result" in str(used.embeds)
    assert day in str(used.embeds)


def test_an_unknown_event_is_explained_in_private(operated: Operated) -> None:
    used = operated.use("Rita", "/event", {"key": "@everyone"})
    assert "Unknown event" in str(used.embeds)


def test_dead_letters_and_model_answer_without_any(operated: Operated) -> None:
    assert "no open dead letters" in str(operated.use("Rita", "/dead-letters").embeds)
    assert "No model is live" in str(operated.use("Rita", "/model").embeds)


def test_a_pause_is_previewed_confirmed_and_in_the_trail(operated: Operated) -> None:
    preview = operated.use("Olga", "/pause", PAUSE)
    assert [(each["name"], each["value"]) for each in preview.embeds[0]["fields"]][:2] == [
        ("Now", "running"),
        ("Waiting records", "0"),
    ]
    operated.click("Olga", preview, "Confirm")
    operated.wait_for_title(preview, "succeeded")
    [[orders]] = operated.rows("SELECT count(*) FROM ops.operations WHERE kind = 'pause'")
    assert orders == 1
    [[who]] = operated.rows("SELECT who FROM ops.audit WHERE action = 'pause' ORDER BY id DESC LIMIT 1")
    assert who.startswith("token:bot on behalf of discord:")
    assert who.endswith("(Olga)")
    assert "paused" in str(operated.use("Rita", "/status").embeds)

    resumed = operated.use("Olga", "/resume", {"service": "cleaner", "topic": "raw-events"})
    operated.click("Olga", resumed, "Confirm")
    operated.wait_for_title(resumed, "succeeded")


def test_a_double_click_is_one_operation(operated: Operated) -> None:
    before = len(operated.rows("SELECT FROM ops.operations"))
    preview = operated.use("Olga", "/resume", {"service": "cleaner", "topic": "raw-events"})
    with operated.fake.faults.held("POST /interactions/*") as held:
        operated.click("Olga", preview, "Confirm")
        operated.click("Olga", preview, "Confirm")
        wait_until(lambda: held.hits > 1)
    operated.wait_for_title(preview, "succeeded")
    assert len(operated.rows("SELECT FROM ops.operations")) == before + 1


def test_a_time_that_is_none_is_explained(operated: Operated) -> None:
    assert "30m, 4h or 7d" in str(operated.use("Olga", "/mute", {"rule": "tip", "for": "banana"}).embeds)


def test_a_cancelled_pause_changes_nothing(operated: Operated) -> None:
    before = operated.rows("SELECT count(*) FROM ops.operations")
    preview = operated.use("Olga", "/pause", PAUSE)
    operated.click("Olga", preview, "Cancel")
    operated.wait_for_title(preview, "Nothing was changed")
    assert operated.rows("SELECT count(*) FROM ops.operations") == before


def test_a_reader_cannot_pause(operated: Operated) -> None:
    assert "Not allowed" in str(operated.use("Rita", "/pause", PAUSE).embeds)


def test_a_day_is_replayed(operated: Operated) -> None:
    options = {"service": "cleaner", "topic": "raw-events", "day": DAYS[0].isoformat()}
    preview = operated.use("Olga", "/replay", options)
    operated.click("Olga", preview, "Confirm")
    operated.wait_for_title(preview, "succeeded")


def test_a_subscription_is_listed_and_removed(operated: Operated) -> None:
    operated.use("Rita", "/subscribe", {"rule": "tip", "venue": 9})
    listed = operated.use("Rita", "/subscriptions")
    assert "tip" in str(listed.embeds)
    operated.click("Rita", listed, "Remove 1")
    operated.wait_for_title(listed, "no subscriptions")


def test_the_successor_of_a_killed_leader_answers_and_edits_the_old_board(operated: Operated) -> None:
    board = operated.fake.channel("board")
    wait_until(lambda: any(each.pinned_at is not None for each in operated.fake.messages(board)))
    operated.kill_leader()
    used = operated.use("Rita", "/status")
    assert "Headrace" in str(used.embeds)
    wait_until(lambda: len(operated.fake.requests("PATCH /channels/*/messages/*")) > 0)
    assert len([each for each in operated.fake.messages(board) if each.embeds]) == 1


def test_a_burst_of_hostile_texts_is_told_completely_in_few_messages(operated: Operated) -> None:
    channel = operated.fake.channel("burst")
    texts = [f"**Burst {number:03d}** · @everyone <@&{operated.fake.role('operator').id}>" for number in range(200)]
    operated.record(channel.id, texts)
    operated.wait_until_sent(channel.id)
    shown = operated.fake.messages(channel)
    content = str([each.embeds for each in shown])
    assert [number for number in range(200) if content.count(f"Burst {number:03d}") != 1] == []
    assert len(shown) <= 40
    assert [each for each in shown if operated.fake.pings(each)] == []


def test_no_message_is_lost_or_sent_twice_when_discord_fails(operated: Operated) -> None:
    channel, faults = operated.fake.channel("faults"), operated.fake.faults
    route = f"POST /channels/{channel.id}/messages"
    faults.plan(Fault(route, status=500, is_executed=True))
    faults.plan(Fault(route, status=502))
    faults.plan(Fault(route, disconnects=True, is_executed=True))
    faults.plan(Fault(route, disconnects=True))
    faults.plan(Fault(route, times=3, status=429, retry_after_s=0.1))
    faults.plan(Fault("*", times=5, status=429, retry_after_s=0.1, is_global=True))
    operated.record(channel.id, ["**Fault one**\nfirst"])
    used = operated.use("Rita", "/status")
    operated.record(channel.id, ["**Fault two**\nsecond"])
    operated.wait_until_sent(channel.id)
    faults.heal()
    titles = [each.embeds[0]["title"] for each in operated.fake.messages(channel)]
    assert sorted(titles) == ["Fault one", "Fault two"]
    assert used.late_answers == 0


def test_a_leader_that_is_killed_while_it_sends_neither_loses_nor_repeats(operated: Operated) -> None:
    channel, faults = operated.fake.channel("killed"), operated.fake.faults
    with faults.held(f"POST /channels/{channel.id}/messages") as held:
        operated.record(channel.id, ["**Killed**\nwhile it sends"])
        wait_until(lambda: held.hits > 0)
        operated.kill_leader()
    operated.end_leases()
    operated.wait_until_sent(channel.id)
    assert len(operated.fake.messages(channel)) == 1


def test_a_leader_that_is_killed_in_a_command_is_succeeded_in_it(operated: Operated) -> None:
    used = operated.fake.slash(operated.fake.person("Olga"), operated.fake.channel("general"), "/pause", PAUSE)
    operated.fake.wait_for(lambda: used.is_answered)
    with operated.fake.faults.held("PATCH /webhooks/*") as held:
        operated.click("Olga", used, "Confirm")
        wait_until(lambda: held.hits > 0)
        operated.kill_leader()
    operated.wait_for_title(used, "succeeded")
    resumed = operated.use("Olga", "/resume", {"service": "cleaner", "topic": "raw-events"})
    operated.click("Olga", resumed, "Confirm")
    operated.wait_for_title(resumed, "succeeded")


def test_a_revoked_token_stops_only_the_bot_and_a_new_one_starts_it(operated: Operated) -> None:
    before = operated.fake.invalid_requests()
    operated.fake.faults.revoke_token()
    wait_until(
        lambda: (
            operated.rows("SELECT value ->> 'accepted' FROM notifier.bot_state WHERE kind = 'token'") == [("false",)]
        )
    )
    wait_until(lambda: all(each["ready"] for each in status(operated.data_dir)))
    assert operated.fake.invalid_requests() - before < 20
    wait_until(
        lambda: operated.rows("SELECT kind FROM notifier.incidents WHERE resolved_at IS NULL") == [("bot-token",)]
    )
