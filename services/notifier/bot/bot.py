"""Runs the bot: waits until this replica leads, logs in, handles interactions, and starts again after a failure.

A failure never ends the notifier: messages wait in the ledger, and the pipeline goes on.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import aiohttp
import psycopg
import structlog

from services.notifier.bot.admin_api import AdminApi
from services.notifier.bot.attachments import files_of
from services.notifier.bot.client import BotSession, DiscordClient, TokenRefused
from services.notifier.bot.context import BotContext, Command, Database
from services.notifier.bot.dispatcher import Dispatcher
from services.notifier.bot.leader_tasks import publish_commands, purge_interactions, store_session
from services.notifier.bot.leadership import POLL_S, Leadership
from services.notifier.bot.link import BotLink
from services.notifier.bot.responder import Responder
from services.notifier.bot.rest import DiscordRest
from services.notifier.settings import PersonScope
from services.notifier.storage.postgres_bot_state import SESSION, read_bot_state
from services.notifier.storage.postgres_replicas import live_urls
from shared.backoff import Backoff
from shared.clock import Clock
from shared.database.connection import limited_connection
from shared.errors import ConfigError, HeadraceError, TransientError
from shared.runtime.metrics import Metrics
from shared.settings.admin import AdminSettings
from shared.settings.values import read_secret

LOCK_ANSWER_S = 5.0
# Sends the token to this machine only.
LOCAL_ONLY = AdminSettings()
EXPECTED_FAILURES = (HeadraceError, psycopg.Error, OSError)
FAILURE_BACKOFF = Backoff(1.0, 60.0)
# Each login with a refused token is an invalid request, of which Discord allows 10,000 in 10 minutes.
REFUSED_RETRY_S = 300.0
log = structlog.get_logger("notifier.bot")


class Task(Protocol):
    """Work of the leader beside the interactions, such as the status board."""

    async def run(self, context: BotContext, rest: DiscordRest) -> None: ...


@dataclass(frozen=True)
class BotConfig:
    """`gateway_url` None: discord.py's. `roles`: scope by role id. `api_token_file` None: commands cannot change
    anything and read only the database. `admin`: to which hosts its token may be sent."""

    token_file: Path
    guild_id: int
    roles: Mapping[int, PersonScope]
    api_token_file: Path | None
    base_url: str
    gateway_url: str | None
    replica: str
    admin: AdminSettings = LOCAL_ONLY


class DiscordBot:
    """`on_token(accepted)` is called with the result of each login."""

    def __init__(
        self,
        config: BotConfig,
        conninfo: str,
        clock: Clock,
        link: BotLink,
        commands: Mapping[str, Command],
        buttons: Mapping[str, Command],
        tasks: Sequence[Task],
        rule_names: Callable[[], Sequence[str]],
        on_token: Callable[[bool], None],
        metrics: Metrics,
    ) -> None:
        self._config = config
        self._conninfo = conninfo
        self._clock = clock
        self._link = link
        self._commands = commands
        self._buttons = buttons
        self._tasks = tasks
        self._rule_names = rule_names
        self._on_token = on_token
        self._metrics = metrics

    def run(self, stop: threading.Event) -> None:
        """Run until `stop` is set."""
        leadership = Leadership(
            limited_connection(self._conninfo, f"notifier bot lock {self._config.replica}", LOCK_ANSWER_S)
        )
        failures = 0
        try:
            while not stop.is_set():
                started_s = time.monotonic()
                try:
                    if not leadership.try_take():
                        stop.wait(POLL_S)
                        continue
                    log.info("bot_leads", replica=self._config.replica)
                    asyncio.run(self._lead(stop, leadership))
                    failures = 0
                except TokenRefused as error:
                    log.warning("bot_token_refused", error=str(error), retry_s=REFUSED_RETRY_S)
                    self._leave(leadership)
                    self._on_token(False)
                    self._wait_for_token(stop)
                except Exception as error:  # noqa: BLE001  # whatever fails, the notifier goes on without the bot
                    log_failure = log.warning if isinstance(error, EXPECTED_FAILURES) else log.exception
                    log_failure("bot_stopped", error=str(error) or type(error).__name__)
                    self._leave(leadership)
                    failures = self._back_off(stop, failures, started_s)
        finally:
            self._leave(leadership)

    def _leave(self, leadership: Leadership) -> None:
        """Let another replica lead: it may be able to work."""
        self._link.close()
        leadership.release()

    def _back_off(self, stop: threading.Event, failures: int, started_s: float) -> int:
        """Wait before the next start; returns the number of failures in a row."""
        failures = 1 if time.monotonic() - started_s > FAILURE_BACKOFF.max_s else failures + 1
        stop.wait(FAILURE_BACKOFF.delay_s(failures))
        return failures

    def _wait_for_token(self, stop: threading.Event) -> None:
        """Wait until the token's file changes, or for a while: Discord may have accepted the token again."""
        refused, until_s = _content_of(self._config.token_file), time.monotonic() + REFUSED_RETRY_S
        while not stop.is_set() and time.monotonic() < until_s and _content_of(self._config.token_file) == refused:
            stop.wait(POLL_S)

    async def _lead(self, stop: threading.Event, leadership: Leadership) -> None:
        """One login, until `stop` is set, leadership is lost or something fails. Raises what ended it."""
        confirmed = asyncio.Event()
        await _run_until_failure([_keep_lead(stop, leadership, confirmed), self._log_in(confirmed)])

    async def _log_in(self, confirmed: asyncio.Event) -> None:
        config = self._config
        database = Database(self._conninfo)
        # Two sessions: a service that does not answer must not take the connections for answers to people.
        async with aiohttp.ClientSession() as session, aiohttp.ClientSession() as api_session:
            api = AdminApi(api_session, self._api_token, lambda service: self._trusted_urls(database, service))
            context = BotContext(database, api, self._clock, config.guild_id, config.roles, self._rule_names)
            responder = Responder(session, config.base_url)
            dispatcher = Dispatcher(context, responder, config.replica, self._commands, self._buttons, self._metrics)
            client = DiscordClient(
                config.base_url, config.gateway_url, dispatcher.receive, self._metrics.bot_connected.set
            )
            try:
                application_id = await client.authenticate(read_secret(config.token_file))
                await asyncio.to_thread(self._on_token, True)
                rest = DiscordRest(client)
                self._link.open(asyncio.get_running_loop(), rest, lambda content: files_of(content, database, api))
                await self._work(confirmed, client, rest, context, dispatcher, application_id)
            finally:
                self._link.close()
                await dispatcher.close()
                await client.close()
                database.close()

    async def _work(
        self,
        confirmed: asyncio.Event,
        client: DiscordClient,
        rest: DiscordRest,
        context: BotContext,
        dispatcher: Dispatcher,
        application_id: int,
    ) -> None:
        state = await context.database.call(read_bot_state, SESSION)
        earlier = None if state is None else BotSession(**state.value)
        # A hint for Discord's clients; the bot checks the person itself.
        in_guilds = {"contexts": [0], "dm_permission": False}
        definitions = [
            {**each.definition, **in_guilds} for each in self._commands.values() if each.definition is not None
        ]
        work: list[Awaitable[None]] = [
            client.receive(earlier, confirmed),
            store_session(client, context.database),
            self._link.refusal(),
            dispatcher.take_over(),
            publish_commands(rest, application_id, definitions),
            purge_interactions(context.database),
            *(task.run(context, rest) for task in self._tasks),
        ]
        try:
            await _run_until_failure(work)
        finally:
            await client.leave()

    async def _trusted_urls(self, database: Database, service: str) -> list[str]:
        """URLs to which the token may be sent: any service may write ops.replicas."""
        urls = await database.call(live_urls, service)
        return [url for url in urls if self._config.admin.refusal_to_send_token(url) is None]

    def _api_token(self) -> str:
        if self._config.api_token_file is None:
            raise ConfigError(
                "this needs a token for the services' API: make one with `headrace token create bot --scope operate"
                " --delegate` and set notifier.bot_api_token_file to its file"
            )
        return read_secret(self._config.api_token_file)


class _Stopped(Exception):
    """The process stops, or another replica leads."""


async def _keep_lead(stop: threading.Event, leadership: Leadership, confirmed: asyncio.Event) -> None:
    """Check the lock until the process stops or another replica leads; raises _Stopped then.

    `confirmed` is set while the lock is known to be held. While the database is away, the bot stays connected and
    answers that it cannot do anything.
    """
    while not stop.is_set():
        try:
            is_held = await asyncio.to_thread(leadership.keep)
        except TransientError as error:
            if confirmed.is_set():
                log.warning("bot_database_lost", error=str(error))
            confirmed.clear()
        else:
            if not is_held:
                log.warning("bot_leadership_lost")
                raise _Stopped
            confirmed.set()
        await asyncio.sleep(POLL_S)
    raise _Stopped


async def _run_until_failure(work: Iterable[Awaitable[None]]) -> None:
    """Run all work until the first failure; work that ends without one is done. Raises the failure, except _Stopped."""
    running = {asyncio.ensure_future(each) for each in work}
    try:
        done, _ = await asyncio.wait(running, return_when=asyncio.FIRST_EXCEPTION)
        with suppress(_Stopped):
            for each in done:
                each.result()
    finally:
        for each in running:
            each.cancel()
        await asyncio.gather(*running, return_exceptions=True)


def _content_of(file: Path) -> bytes | None:
    try:
        return file.read_bytes()
    except OSError:
        return None
