"""What the commands work with: the database, the services' API, the clock and the settings of the bot."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from queue import SimpleQueue
from typing import Any, Concatenate, ParamSpec, TypeVar

from services.notifier.bot.admin_api import AdminApi
from services.notifier.bot.answers import Answer
from services.notifier.bot.interaction import Interaction
from services.notifier.bot.permissions import scope_of
from services.notifier.settings import PersonScope
from shared.clock import Clock
from shared.database.connection import DbConnection, ReconnectingConnection, limited_connection

P = ParamSpec("P")
R = TypeVar("R")

# Two, so that a completion does not wait for a slow command.
CONNECTIONS = 2
ANSWER_S = 10.0


class Database:
    """Runs functions that take a connection in threads, each in a transaction."""

    def __init__(self, conninfo: str) -> None:
        self._threads = ThreadPoolExecutor(CONNECTIONS, thread_name_prefix="bot database")
        self._links: SimpleQueue[ReconnectingConnection] = SimpleQueue()
        for _ in range(CONNECTIONS):
            self._links.put(limited_connection(conninfo, "notifier bot", ANSWER_S))

    async def call(self, function: Callable[Concatenate[DbConnection, P], R], *args: P.args, **kwargs: P.kwargs) -> R:
        """Raises TransientError if the database is unavailable."""

        def run() -> R:
            link = self._links.get()
            try:
                with link.use() as connection, connection.transaction():
                    return function(connection, *args, **kwargs)
            finally:
                self._links.put(link)

        return await asyncio.get_running_loop().run_in_executor(self._threads, run)

    def close(self) -> None:
        """Wait for the functions that run, also those whose caller was cancelled."""
        self._threads.shutdown(cancel_futures=True)
        for _ in range(CONNECTIONS):
            self._links.get().drop()


@dataclass(frozen=True)
class BotContext:
    """`roles`: scope by role id. `rule_names` returns the names of the current rules."""

    database: Database
    api: AdminApi
    clock: Clock
    guild_id: int
    roles: Mapping[int, PersonScope]
    rule_names: Callable[[], Sequence[str]]

    def scope_of(self, interaction: Interaction) -> PersonScope | None:
        return scope_of(interaction.person, self.guild_id, self.roles)

    async def change(
        self, interaction: Interaction, method: str, service: str, path: str, body: Mapping[str, Any], step: str = ""
    ) -> Any:
        """Make a change of a service on behalf of the person, once for each interaction and `step`.

        Raises ApiRefused, ApiUnavailable.
        """
        scope = self.scope_of(interaction) or "read"
        key = f"discord-{interaction.id}" + (f"-{step}" if step else "")
        return await self.api.change(method, service, path, body, person=interaction.person, scope=scope, key=key)


Handler = Callable[[BotContext, Interaction], AsyncIterator[Answer]]
"""Yields the answer, and each further one that replaces it."""
Completion = Callable[[BotContext, Interaction], Awaitable[list[tuple[str, str]]]]
"""Returns (label, value) for what the person has typed so far."""


def single(function: Callable[[BotContext, Interaction], Awaitable[Answer]]) -> Handler:
    """A handler with one answer."""

    async def handle(context: BotContext, interaction: Interaction) -> AsyncIterator[Answer]:
        yield await function(context, interaction)

    return handle


@dataclass(frozen=True)
class Command:
    """A slash command or a button. `definition` is that of Discord's API; None for a button.

    `private`: only the person sees the answer. `in_place`: the answer of a button replaces the button's message.
    `anywhere`: also outside the guild, e.g. in direct messages.
    """

    handle: Handler
    definition: Mapping[str, Any] | None = None
    scope: PersonScope = "read"
    private: bool = False
    in_place: bool = False
    anywhere: bool = False
    complete: Mapping[str, Completion] | None = None
