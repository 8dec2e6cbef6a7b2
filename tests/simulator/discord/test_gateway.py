"""The gateway with discord.py as the client: sessions, and what interrupts them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import discord
import pytest

from simulator.discord.fake import FakeDiscord
from simulator.discord.fake_interaction import FakeInteraction
from simulator.discord.faults import Fault
from tests.simulator.discord.bots import RealBot, RunningBot
from tests.waiting import DEADLINE_S


class PingBot(RealBot):
    def __init__(self, fake: FakeDiscord, **options: Any) -> None:
        super().__init__(fake, **options)

        @self.tree.command(name="ping", description="Answers pong")
        async def ping(interaction: discord.Interaction[Any]) -> None:
            await interaction.response.send_message("pong", ephemeral=True)


def ping(fake: FakeDiscord) -> FakeInteraction:
    return fake.slash(fake.person("Ana Operator"), fake.channel("races"), "/ping")


def is_answered(fake: FakeDiscord, interaction: FakeInteraction) -> None:
    fake.wait_for(lambda: interaction.content == "pong", "the answer")


def test_a_dropped_connection_is_resumed_and_the_missed_event_comes(fake: FakeDiscord) -> None:
    with RunningBot(fake, PingBot(fake)) as running:
        running.ready()
        fake.faults.gateway.delays_sessions = True
        fake.faults.drop_gateway()
        fake.wait_for(lambda: not fake.is_connected, "the end of the connection")
        missed = ping(fake)
        fake.faults.gateway.delays_sessions = False

        fake.wait_for(lambda: running.bot.resumed_count, "the session is resumed")
        is_answered(fake, missed)

        assert running.bot.ready_count == 1


def request_reconnect(fake: FakeDiscord) -> None:
    fake.faults.request_reconnect()


def close_gateway(fake: FakeDiscord) -> None:
    fake.faults.close_gateway(4000)


@pytest.mark.parametrize("act", [request_reconnect, close_gateway])
def test_a_client_that_must_reconnect_resumes(fake: FakeDiscord, act: Callable[[FakeDiscord], None]) -> None:
    with RunningBot(fake, PingBot(fake)) as running:
        running.ready()

        act(fake)

        fake.wait_for(lambda: running.bot.resumed_count, "the session is resumed")
        is_answered(fake, ping(fake))


@pytest.mark.parametrize(("resumable", "resumed", "ready"), [(True, 1, 1), (False, 0, 2)])
def test_an_invalid_session_is_resumed_or_replaced(
    fake: FakeDiscord, resumable: bool, resumed: int, ready: int
) -> None:
    with RunningBot(fake, PingBot(fake)) as running:
        running.ready()

        fake.faults.invalidate_session(resumable)

        fake.wait_for(lambda: (running.bot.resumed_count, running.bot.ready_count) == (resumed, ready), "the session")
        is_answered(fake, ping(fake))


def test_a_session_that_is_invalid_for_good_cannot_be_resumed(fake: FakeDiscord) -> None:
    sessions = fake.simulation.sessions
    with RunningBot(fake, PingBot(fake)) as running:
        running.ready()
        [session] = fake.server.call(sessions.connected)
        position = session.sequence
        before = fake.server.call(lambda: sessions.resumable(session.id, position))

        fake.faults.invalidate_session()

        assert before is session
        assert fake.server.call(lambda: sessions.resumable(session.id, position)) is None


def test_a_session_that_the_gateway_forgot_is_replaced(fake: FakeDiscord) -> None:
    with RunningBot(fake, PingBot(fake)) as running:
        running.ready()
        fake.faults.gateway.invalidates = [False]

        fake.faults.drop_gateway()

        fake.wait_for(lambda: running.bot.ready_count == 2, "a new session")
        is_answered(fake, ping(fake))


def test_a_revoked_token_ends_the_client(fake: FakeDiscord) -> None:
    with RunningBot(fake, PingBot(fake)) as running:
        running.ready()

        fake.faults.revoke_token()

        ended = fake.wait_for(lambda: running.ends, "the end of the client")
        assert isinstance(ended, discord.ConnectionClosed)
        assert ended.code == 4004


def test_a_wrong_token_is_refused_at_the_login(fake: FakeDiscord) -> None:
    fake.faults.revoke_token()

    with RunningBot(fake, PingBot(fake)) as running:
        ended = fake.wait_for(lambda: running.ends, "the end of the client")

    assert isinstance(ended, discord.LoginFailure)
    assert fake.invalid_requests() == 1


def test_a_refused_connection_is_tried_again(fake: FakeDiscord) -> None:
    fake.faults.gateway.refused_codes = [4000]

    with RunningBot(fake, PingBot(fake)) as running:
        running.ready()

    assert fake.faults.gateway.refused_codes == []


def test_a_privileged_intent_is_refused(fake: FakeDiscord) -> None:
    with RunningBot(fake, PingBot(fake, intents=discord.Intents(guilds=True, members=True))) as running:
        ended = fake.wait_for(lambda: running.ends, "the end of the client")

    assert isinstance(ended, discord.PrivilegedIntentsRequired)


def test_a_delayed_ready_delays_the_client(fake: FakeDiscord) -> None:
    fake.faults.gateway.delays_sessions = True
    with RunningBot(fake, PingBot(fake)) as running:
        fake.wait_for(lambda: fake.requests("PUT /applications/*"), "the registration")
        assert running.bot.ready_count == 0

        fake.faults.gateway.delays_sessions = False

        running.ready()


def test_a_heartbeat_without_acknowledgement_ends_the_connection() -> None:
    with FakeDiscord(first_answer_s=DEADLINE_S, heartbeat_s=1.0) as fake:
        fake.faults.gateway.ignores_heartbeats = True
        with RunningBot(fake, PingBot(fake, heartbeat_timeout=3.0)) as running:
            running.ready()

            fake.wait_for(lambda: running.bot.resumed_count, "a resumed session")


def test_events_need_their_intent(fake: FakeDiscord) -> None:
    received: list[str] = []

    class Listener(PingBot):
        async def on_message(self, message: discord.Message) -> None:
            received.append(message.content)

    intents = discord.Intents(guilds=True, dm_messages=True)
    ana = fake.person("Ana Operator")
    with RunningBot(fake, Listener(fake, intents=intents)) as running:
        running.ready()
        fake.say(ana, fake.channel("races"), "in the guild")
        fake.say(ana, fake.direct(ana), "to the bot")
        fake.wait_for(lambda: received)

    assert received == ["to the bot"]


def test_a_refused_callback_is_repeated_by_the_client(fake: FakeDiscord) -> None:
    fake.faults.plan(Fault("POST /interactions/*", status=429, retry_after_s=0.05))
    with RunningBot(fake, PingBot(fake)) as running:
        running.ready()

        is_answered(fake, ping(fake))

    assert [each.status for each in fake.requests("POST /interactions/*")] == [429, 200]
