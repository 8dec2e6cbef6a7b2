"""Follows an operation of a service and shows how far it is."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from typing import Any

from services.notifier.bot.answers import Answer, Embed, EmbedField
from services.notifier.bot.context import BotContext
from services.notifier.texts.content import Colour
from services.notifier.texts.message import escape

POLL_S = 1.0
END_STATES = frozenset({"succeeded", "failed", "cancelled"})
_COLOURS: Mapping[str, Colour] = {"succeeded": "good", "failed": "critical", "cancelled": "muted"}


async def follow(context: BotContext, service: str, operation: Mapping[str, Any], title: str) -> AsyncIterator[Answer]:
    """Show the operation until it ends. An operation that takes longer than Discord accepts answers goes on."""
    current, shown = dict(operation), None
    while True:
        answer = operation_answer(current, title)
        if answer != shown:
            yield answer
            shown = answer
        if current["state"] in END_STATES:
            return
        await asyncio.sleep(POLL_S)
        current = await context.api.get(service, f"/operations/{current['id']}")


def operation_answer(operation: Mapping[str, Any], title: str) -> Answer:
    """The operation's state in words, what it waits for, and its counts."""
    state = str(operation["state"])
    lines = [f"**{state}** · operation {int(operation['id'])} of the {operation['service']}"]
    if state not in END_STATES:
        lines.append(f"{100 * float(operation['progress']):.0f}%")
    if operation.get("waiting_for"):
        lines.append(f"waits for {escape_words(operation['waiting_for'])}")
    if operation.get("error"):
        lines.append(escape_words(operation["error"]))
    counts = [
        EmbedField(escape(str(name)), escape(f"{value:,}" if isinstance(value, int) else str(value)))
        for name, value in (operation.get("counts") or {}).items()
    ]
    colour = _COLOURS.get(state, "information")
    return Answer((Embed(title, "\n".join(lines), tuple(counts), colour),))


def escape_words(text: object) -> str:
    """A longer untrusted text as one line, escaped."""
    return " ".join(escape(word) for word in str(text).split())
