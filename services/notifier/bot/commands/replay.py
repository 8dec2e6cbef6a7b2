"""The command `/replay`: the plan of a dry run, then exactly this plan."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from datetime import date
from typing import Any

from services.notifier.bot.answers import Answer, Embed, EmbedField, note
from services.notifier.bot.commands.confirmation import PLAN, Execute, confirmable
from services.notifier.bot.commands.operations import follow
from services.notifier.bot.commands.options import SERVICE_OPTION, TOPIC_OPTION, complete_topic, text_option
from services.notifier.bot.context import BotContext, Command
from services.notifier.bot.interaction import Interaction
from services.notifier.texts.message import escape

ARCHIVE_SERVICE = "fetcher"


async def preview(context: BotContext, interaction: Interaction) -> AsyncIterator[Answer]:
    """The records that would be handled again."""
    service, topic = interaction.text("service"), interaction.text("topic")
    try:
        day = date.fromisoformat(interaction.text("day"))
    except ValueError:
        yield note("Expected a day like 2026-01-31. Nothing was changed.", "warning", "Unknown day")
        return
    dry_run = request_of(service, topic, day) | {"dry_run": True}
    plan = await context.change(interaction, "POST", service, "/replays", dry_run, PLAN)
    records = int(plan["selected" if service == ARCHIVE_SERVICE else "records"])
    if records == 0:
        yield note(f"{escape(topic)} has no records of {day}. Nothing was changed.", "muted", "Nothing to replay")
        return
    embed = Embed(
        f"Replay {service} · {topic} · {day}?",
        f"{records:,} records would be handled again, beside live work. Live positions stay where they are.",
        (EmbedField("Records", f"{records:,}"),),
        "warning",
    )
    # The archive's plans have no id: the same request selects the same documents, and those archived meanwhile.
    plan_id = str(plan.get("plan_id") or "")
    yield confirmable(Answer((embed,)), interaction, plan_id)


def request_of(service: str, topic: str, day: date) -> dict[str, Any]:
    """The request for all records of a day. Keys begin with source and day."""
    if service == ARCHIVE_SERVICE:
        return {"from": day.isoformat(), "to": day.isoformat()}
    return {"topic": topic, "keys": [f"*:{day.isoformat()}:*"]}


async def execute(context: BotContext, request: Interaction, plan_id: str) -> AsyncIterator[Answer]:
    service = request.text("service")
    day = date.fromisoformat(request.text("day"))
    body = {"plan_id": plan_id} if plan_id else request_of(service, request.text("topic"), day)
    operation = await context.change(request, "POST", service, "/replays", body)
    async for answer in follow(context, service, operation, f"Replay {service} · {request.text('topic')}"):
        yield answer


COMMANDS = {
    "replay": Command(
        preview,
        {
            "name": "replay",
            "description": "Handle a day's records of a topic again",
            "options": [SERVICE_OPTION, TOPIC_OPTION, text_option("day", "For example 2026-01-31", max_length=10)],
        },
        scope="operate",
        private=True,
        complete={"topic": complete_topic},
    )
}
EXECUTES: Mapping[str, Execute] = {"replay": execute}
