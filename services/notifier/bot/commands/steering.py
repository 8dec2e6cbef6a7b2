"""The commands `/pause` and `/resume`: a preview with numbers, then the change, followed until it is effective."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from typing import Any
from urllib.parse import quote

from services.notifier.bot.answers import Answer, Embed, EmbedField
from services.notifier.bot.commands.confirmation import Execute, confirmable
from services.notifier.bot.commands.operations import escape_words, follow
from services.notifier.bot.commands.options import SERVICE_OPTION, TOPIC_OPTION, complete_topic, text_option
from services.notifier.bot.context import BotContext, Command
from services.notifier.bot.interaction import Interaction

MAX_REASON_LENGTH = 200


async def preview(context: BotContext, interaction: Interaction) -> AsyncIterator[Answer]:
    """What the change affects, with the buttons to confirm or to cancel."""
    service, topic, action = interaction.text("service"), interaction.text("topic"), interaction.name
    state, lag, status = await asyncio.gather(
        context.api.get(service, f"/topics/{quote(topic, safe='')}"),
        context.api.get(service, "/lag"),
        context.api.get(service, "/topics"),
    )
    waiting = sum(int(each["records"] or 0) for each in lag if each["topic"] == topic)
    effect = (
        "New records wait until it is resumed; nothing is lost."
        if action == "pause"
        else "It continues where it stopped. Partitions that a breaker holds back are released too."
    )
    fields = [
        EmbedField("Now", str(state["desired"]) + ("" if state["effective"] else " (not yet effective)")),
        EmbedField("Waiting records", f"{waiting:,}"),
        EmbedField("Replicas", f"{len(status['replicas'])}"),
    ]
    if reason := interaction.text("reason"):
        fields.append(EmbedField("Reason", escape_words(reason), inline=False))
    embed = Embed(f"{action.capitalize()} {service} · {topic}?", effect, tuple(fields), "warning")
    yield confirmable(Answer((embed,)), interaction)


async def execute(context: BotContext, request: Interaction, _: str) -> AsyncIterator[Answer]:
    """Give the order, and show its operation until every replica obeys it."""
    service, topic, action = request.text("service"), request.text("topic"), request.name
    path = f"/topics/{quote(topic, safe='')}/{action}"
    operation = await context.change(request, "PUT", service, path, _body_of(request))
    async for answer in follow(context, service, operation, f"{action.capitalize()} {service} · {topic}"):
        yield answer


def _body_of(request: Interaction) -> dict[str, Any]:
    reason = request.text("reason")
    return {"reason": reason} if reason else {}


def _definition(name: str, description: str, reason_required: bool) -> Mapping[str, Any]:
    reason = text_option("reason", "Why, for the audit trail", required=reason_required, max_length=MAX_REASON_LENGTH)
    return {"name": name, "description": description, "options": [SERVICE_OPTION, TOPIC_OPTION, reason]}


COMMANDS = {
    "pause": Command(
        preview,
        _definition("pause", "Pause a service's work on a topic", True),
        scope="operate",
        private=True,
        complete={"topic": complete_topic},
    ),
    "resume": Command(
        preview,
        _definition("resume", "Resume a service's work on a topic", False),
        scope="operate",
        private=True,
        complete={"topic": complete_topic},
    ),
}
EXECUTES: Mapping[str, Execute] = {"pause": execute, "resume": execute}
