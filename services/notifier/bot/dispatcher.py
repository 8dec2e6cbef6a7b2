"""Handles interactions: checks the person, promises an answer in time, runs the command, shows its answers.

An interaction is stored before it is handled. A second replica that receives the same one leaves it alone, and the
successor of a killed leader handles those that have no answer yet; handlers therefore send a change with a key that
depends on the interaction only.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Coroutine, Mapping
from typing import Any, Literal

import structlog

from services.notifier.bot.answers import Answer, choices_of, note
from services.notifier.bot.context import BotContext, Command
from services.notifier.bot.interaction import Interaction, InvalidInteraction, interaction_of
from services.notifier.bot.responder import NotAnswered, Responder
from services.notifier.storage import postgres_interactions as inbox
from services.notifier.texts.message import escape
from shared.errors import HeadraceError, TransientError
from shared.ops.tokens import allows
from shared.runtime.metrics import Metrics

# Discord accepts answers for 15 minutes.
HANDLING_LIMIT_S = 14 * 60.0
COMPLETION_LIMIT_S = 1.5
# Each may follow an operation for minutes.
MAX_CONCURRENT = 200
_NOT_STORED = note("The database does not answer. Nothing was changed; try again later.", "critical", "Not possible")
_BUSY = note("The bot handles too many commands now. Nothing was changed; try again.", "warning", "Busy")
InteractionResult = Literal["answered", "refused", "failed"]
log = structlog.get_logger("notifier.bot")


class Dispatcher:
    """`commands` by name, `buttons` by action. Used in one event loop."""

    def __init__(
        self,
        context: BotContext,
        responder: Responder,
        replica: str,
        commands: Mapping[str, Command],
        buttons: Mapping[str, Command],
        metrics: Metrics,
    ) -> None:
        self._context = context
        self._responder = responder
        self._replica = replica
        self._commands = commands
        self._buttons = buttons
        self._metrics = metrics
        self._tasks: set[asyncio.Task[None]] = set()

    def receive(self, payload: Mapping[str, Any]) -> None:
        """Begin to handle an interaction. Errors are logged; they never end the connection to Discord."""
        is_full = len(self._tasks) >= MAX_CONCURRENT
        self._start(self._receive(payload, time.monotonic(), is_full))

    async def take_over(self) -> None:
        """Handle the interactions that a replica left without an answer."""
        for payload in await self._context.database.call(inbox.take_over, self._replica):
            log.info("bot_interaction_taken_over", interaction=payload.get("id"))
            self._start(self._resume(payload))

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _receive(self, payload: Mapping[str, Any], received_s: float, is_full: bool) -> None:
        """`received_s`: time of a monotonic clock. `is_full`: too many interactions are handled already."""
        result: InteractionResult | None = "failed"
        try:
            interaction = interaction_of(payload)
            if interaction.kind == "completion":
                result = None
                if not is_full:
                    await self._complete(interaction)
            else:
                result = await self._answer(interaction, payload, received_s, is_full)
        except InvalidInteraction as error:
            log.warning("bot_interaction_invalid", error=str(error))
        except (NotAnswered, HeadraceError) as error:
            log.warning("bot_interaction_failed", error=str(error))
        except Exception:
            log.exception("bot_interaction_failed", interaction=str(payload.get("id")))
        self._count(result)

    async def _answer(
        self, interaction: Interaction, payload: Mapping[str, Any], received_s: float, is_full: bool
    ) -> InteractionResult | None:
        """Answer a command or a button; None if another replica does."""
        command = self._command_of(interaction)
        if (refusal := _BUSY if is_full else self._refusal(interaction, command)) is not None:
            await self._responder.answer_at_once(interaction, refusal)
        else:
            # Promised first: the database may be slow, and Discord waits only 3 s.
            await self._responder.defer(interaction, private=command.private, in_place=command.in_place)
        self._metrics.bot_first_answer_seconds.observe(time.monotonic() - received_s)
        if refusal is not None:
            return "refused"
        try:
            if not await self._context.database.call(inbox.receive, payload, self._replica):
                return None
        except TransientError:
            await self._show(interaction, command, _NOT_STORED)
            raise
        return await self._handle(interaction, command)

    async def _resume(self, payload: Mapping[str, Any]) -> None:
        result: InteractionResult = "failed"
        try:
            interaction = interaction_of(payload)
            result = await self._handle(interaction, self._command_of(interaction))
        except (HeadraceError, InvalidInteraction) as error:
            log.warning("bot_interaction_failed", error=str(error))
        self._count(result)

    def _count(self, result: InteractionResult | None) -> None:
        if result is not None:
            self._metrics.bot_interactions_total.labels(result).inc()

    async def _handle(self, interaction: Interaction, command: Command) -> InteractionResult:
        """Show the answers of the command, or why there is none, and mark the interaction as done."""
        result: InteractionResult = "failed"
        about = log.bind(interaction=interaction.id, name=interaction.name, person=interaction.person.id)
        try:
            async with asyncio.timeout(HANDLING_LIMIT_S):
                async for answer in command.handle(self._context, interaction):
                    await self._responder.edit(interaction, answer)
            about.info("bot_interaction_answered")
            result = "answered"
        except NotAnswered as error:
            about.warning("bot_interaction_failed", error=str(error))
        except HeadraceError as error:
            await self._show(interaction, command, note(escape_lines(str(error)), "critical", "Not possible"))
        except TimeoutError:
            await self._show(interaction, command, note("This took too long and is not watched any more.", "warning"))
        except Exception:  # noqa: BLE001  # a defect of one command must not end the bot
            about.exception("bot_interaction_failed")
            text = f"The command failed unexpectedly. The notifier's log has the cause (interaction {interaction.id})."
            await self._show(interaction, command, note(text, "critical", "Failed"))
        await self._context.database.call(inbox.finish, interaction.id)
        return result

    async def _show(self, interaction: Interaction, command: Command, answer: Answer) -> None:
        """Show a failure. It must not replace a message that others see, such as an alert."""
        try:
            if command.in_place and not interaction.is_private_message:
                await self._responder.add_private(interaction, answer)
            else:
                await self._responder.edit(interaction, answer)
        except NotAnswered as error:
            log.warning("bot_interaction_failed", interaction=interaction.id, error=str(error))

    async def _complete(self, interaction: Interaction) -> None:
        command = self._commands.get(interaction.name)
        complete = (command.complete or {}).get(interaction.focused or "") if command else None
        values: list[tuple[str, str]] = []
        if complete is not None and self._context.scope_of(interaction) is not None:
            try:
                async with asyncio.timeout(COMPLETION_LIMIT_S):
                    values = await complete(self._context, interaction)
            except (HeadraceError, TimeoutError) as error:
                log.warning("bot_completion_failed", name=interaction.name, error=str(error) or type(error).__name__)
        await self._responder.complete(interaction, choices_of(values))

    def _command_of(self, interaction: Interaction) -> Command:
        commands = self._buttons if interaction.kind == "button" else self._commands
        command = commands.get(interaction.name)
        if command is None:
            raise InvalidInteraction(f"unknown {interaction.kind} {interaction.name!r}")
        return command

    def _refusal(self, interaction: Interaction, command: Command) -> Answer | None:
        """Why the person may not do this; None if they may."""
        if command.anywhere:
            return None
        scope = self._context.scope_of(interaction)
        if scope is None:
            return note("This bot answers only in its own server.", "warning", "Not here")
        if not allows(scope, command.scope):
            text = "This needs a role with scope `operate` (setting notifier.bot_roles). Nothing was changed."
            return note(text, "warning", "Not allowed")
        return None


def escape_lines(text: str) -> str:
    """Untrusted text of several lines, escaped."""
    return "\n".join(" ".join(escape(word) for word in line.split()) for line in text.splitlines())
