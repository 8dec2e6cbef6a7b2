"""The bot answers people in its guild, in time, and survives what Discord does to it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import UUID

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from services.notifier.bot.assembly import COMMANDS
from services.notifier.bot.board import StatusBoard
from services.notifier.bot.responder import RETRY
from services.notifier.channels.base import Message
from services.notifier.storage.postgres_bot_state import SESSION, write_bot_state
from services.notifier.texts.content import Content
from simulator.discord.fake import FakeDiscord
from simulator.discord.faults import Fault
from tests.services.notifier.bot.running import RunningBot, running_bot
from tests.waiting import terminate_backends, wait_until


@contextmanager
def without_database(database_url: str) -> Iterator[None]:
    """The database accepts no connections."""
    name = conninfo_to_dict(database_url)["dbname"]
    with psycopg.connect(make_conninfo(database_url, dbname="postgres"), autocommit=True) as admin:
        admin.execute(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS false')
        try:
            terminate_backends(admin, "datname = %s", (name,))
            yield
        finally:
            admin.execute(f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS true')


def test_all_commands_are_published(fake: FakeDiscord, bot: RunningBot) -> None:
    assert {each["name"] for each in fake.commands()} == set(COMMANDS)


def test_a_command_is_promised_and_then_answered(fake: FakeDiscord, bot: RunningBot) -> None:
    used = fake.slash(fake.person("Ana"), fake.channel("general"), "/status")
    fake.wait_for(lambda: used.is_answered)
    assert used.callback == 5
    assert "Headrace" in used.embeds[0]["title"]


def test_the_refresh_button_edits_the_same_message(fake: FakeDiscord, bot: RunningBot) -> None:
    ana, channel = fake.person("Ana"), fake.channel("general")
    used = fake.slash(ana, channel, "/status")
    fake.wait_for(lambda: used.is_answered)
    shown = used.original
    assert shown is not None
    edits = len(fake.edits(shown))
    clicked = fake.click(ana, shown, "hr:refresh:")
    fake.wait_for(lambda: len(fake.edits(shown)) > edits)
    assert clicked.callback == 6
    assert len(fake.messages(channel)) == 1


def test_an_operators_command_is_refused_without_the_role(fake: FakeDiscord, bot: RunningBot) -> None:
    options = {"service": "cleaner", "topic": "raw-events", "reason": "test"}
    used = fake.slash(fake.person("Ana"), fake.channel("general"), "/pause", options)
    fake.wait_for(lambda: used.is_answered)
    assert used.embeds[0]["title"] == "Not allowed"
    assert used.original is not None
    assert used.original not in fake.messages(fake.channel("general"))  # only the person sees it


def test_a_button_in_a_direct_message_gives_no_rights(fake: FakeDiscord, bot: RunningBot) -> None:
    olga = fake.person("Olga", ["operator"])
    content = Content(actions=("hr:ack:12",))
    bot.channel.send(Message("id/rule", UUID(int=1), "rule", "key", "**Alert**", f"user/{olga.id}", content))
    [shown] = fake.messages(fake.direct(olga))
    used = fake.click(olga, shown, "hr:ack:12")
    fake.wait_for(lambda: used.is_answered)
    assert used.embeds[0]["title"] == "Not here"


def test_a_dropped_connection_is_resumed_and_the_missed_command_answered(fake: FakeDiscord, bot: RunningBot) -> None:
    fake.faults.drop_gateway()
    used = fake.slash(fake.person("Ana"), fake.channel("general"), "/status")
    fake.wait_for(lambda: used.is_answered)


def test_a_connection_that_drops_again_and_again_is_resumed_each_time(fake: FakeDiscord, bot: RunningBot) -> None:
    for number in range(1, 8):
        fake.faults.drop_gateway()
        used = fake.slash(fake.person("Ana"), fake.channel("general"), "/status")
        wait_until(lambda used=used: used.is_answered, f"the answer after drop {number}", deadline_s=60)  # type: ignore[misc]
    assert fake.simulation.sessions.identified == 1


def test_a_command_while_the_database_is_away_is_answered_and_the_bot_stays(
    fake: FakeDiscord, bot: RunningBot, database_url: str
) -> None:
    with without_database(database_url):
        used = fake.slash(fake.person("Ana"), fake.channel("general"), "/status")
        fake.wait_for(lambda: "Not possible" in str(used.embeds))
    used = fake.slash(fake.person("Ana"), fake.channel("general"), "/status")
    fake.wait_for(lambda: "Headrace" in str(used.embeds))
    assert bot.logins == [True]


def test_an_answer_that_discord_limits_is_repeated_with_growing_waits(fake: FakeDiscord, bot: RunningBot) -> None:
    fault = fake.faults.plan(Fault("PATCH /webhooks/*", times=3, status=429, retry_after_s=0.001))
    began_s = time.monotonic()
    used = fake.slash(fake.person("Ana"), fake.channel("general"), "/status")
    fake.wait_for(lambda: used.is_answered)
    assert fault.hits == 3
    assert time.monotonic() - began_s >= sum(RETRY.delay_s(number) for number in (1, 2, 3))


def test_a_board_whose_token_is_refused_ends_the_login(fake: FakeDiscord, database_url: str, tmp_path: Path) -> None:
    board = StatusBoard(fake.channel("board").id, edit_s=0.01)
    with running_bot(fake, database_url, tmp_path, tasks=[board]) as running:
        wait_until(lambda: fake.messages(fake.channel("board")))
        fake.faults.plan(Fault("PATCH /channels/*/messages/*", times=1_000, status=401))
        wait_until(lambda: running.logins == [True, False])


def test_an_invalid_session_is_replaced(fake: FakeDiscord, bot: RunningBot) -> None:
    fake.faults.invalidate_session(resumable=False)
    wait_until(lambda: fake.is_connected and fake.simulation.sessions.identified == 2)
    used = fake.slash(fake.person("Ana"), fake.channel("general"), "/status")
    fake.wait_for(lambda: used.is_answered)


def test_a_session_whose_address_does_not_answer_is_given_up(
    fake: FakeDiscord, database_url: str, tmp_path: Path
) -> None:
    session = {"id": "earlier", "sequence": 7, "gateway": "ws://127.0.0.1:1/"}  # no server has port 1
    with psycopg.connect(database_url) as connection:
        write_bot_state(connection, SESSION, session)
    with running_bot(fake, database_url, tmp_path) as running:
        wait_until(lambda: running.measured("connected") == 1, deadline_s=120)
        assert fake.simulation.sessions.identified == 1


def test_a_refused_token_stops_the_bot_and_a_new_one_starts_it(
    fake: FakeDiscord, database_url: str, tmp_path: Path
) -> None:
    with running_bot(fake, database_url, tmp_path, token="wrong") as running:
        wait_until(lambda: running.logins == [False])
        assert not running.channel.available()
        assert fake.invalid_requests() == 1
        running.token_file.write_text(fake.token)
        wait_until(lambda: running.logins == [False, True])
        wait_until(running.channel.available)


def test_a_bot_whose_token_is_refused_leaves_the_lead_to_another(
    fake: FakeDiscord, database_url: str, tmp_path: Path
) -> None:
    with running_bot(fake, database_url, tmp_path, replica="b", token="wrong") as refused:
        wait_until(lambda: refused.logins == [False])
        with running_bot(fake, database_url, tmp_path, replica="a") as second:
            wait_until(second.channel.available)
        assert not refused.channel.available()


def test_a_second_bot_waits_until_the_first_has_stopped(fake: FakeDiscord, database_url: str, tmp_path: Path) -> None:
    with running_bot(fake, database_url, tmp_path, replica="b"):
        wait_until(lambda: fake.is_connected)
        with running_bot(fake, database_url, tmp_path, replica="a") as first:
            assert not first.channel.available()
            used = fake.slash(fake.person("Ana"), fake.channel("general"), "/status")
            fake.wait_for(lambda: used.is_answered)
        assert first.logins == []


def test_only_the_bot_with_a_session_is_connected(fake: FakeDiscord, database_url: str, tmp_path: Path) -> None:
    with running_bot(fake, database_url, tmp_path, replica="b") as first:
        wait_until(lambda: first.measured("connected") == 1)
        with running_bot(fake, database_url, tmp_path, replica="a") as second:
            used = fake.slash(fake.person("Ana"), fake.channel("general"), "/status")
            fake.wait_for(lambda: used.is_answered)
            assert (first.measured("connected"), second.measured("connected")) == (1, 0)
    assert first.measured("connected") == 0


def test_a_bot_whose_token_is_refused_is_not_connected(fake: FakeDiscord, database_url: str, tmp_path: Path) -> None:
    with running_bot(fake, database_url, tmp_path, token="wrong") as running:
        wait_until(lambda: running.logins == [False])
        assert running.measured("connected") == 0


def test_a_session_is_connected_again_after_a_lost_connection(fake: FakeDiscord, bot: RunningBot) -> None:
    wait_until(lambda: bot.measured("connected") == 1)
    fake.faults.gateway.delays_sessions = True
    fake.faults.drop_gateway()
    wait_until(lambda: bot.measured("connected") == 0)
    fake.faults.gateway.delays_sessions = False
    wait_until(lambda: bot.measured("connected") == 1)


def test_interactions_are_counted_by_result_and_their_first_answer_is_timed(fake: FakeDiscord, bot: RunningBot) -> None:
    ana, channel = fake.person("Ana"), fake.channel("general")
    olga = fake.person("Olga", ["operator"])
    pause = {"service": "cleaner", "topic": "raw-events", "reason": "test"}
    answered, refused = fake.slash(ana, channel, "/status"), fake.slash(ana, channel, "/pause", pause)
    failed = fake.slash(olga, channel, "/ack", {"id": "12"})  # there is no token for the services' API
    fake.wait_for(lambda: all(each.is_answered for each in (answered, refused, failed)))

    for result in ("answered", "refused", "failed"):
        wait_until(lambda result=result: bot.measured("interactions_total", result=result) == 1)  # type: ignore[misc]
    assert bot.measured("first_answer_seconds_count") == 3


def test_a_completion_is_not_counted(fake: FakeDiscord, bot: RunningBot) -> None:
    ana, channel = fake.person("Ana"), fake.channel("general")
    completion = fake.autocomplete(ana, channel, "/event", {"key": "river"}, "key")
    fake.wait_for(lambda: completion.callback == 8)
    used = fake.slash(ana, channel, "/status")
    fake.wait_for(lambda: used.is_answered)
    wait_until(lambda: bot.measured("interactions_total", result="answered") == 1)
    assert bot.measured("first_answer_seconds_count") == 1
