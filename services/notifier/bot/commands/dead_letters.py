"""The command `/dead-letters`: what failed and why, and a redrive in two steps."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

from services.notifier.bot.admin_api import ApiUnavailable
from services.notifier.bot.answers import MAX_DESCRIPTION, Answer, Button, Embed, EmbedField, cut_lines, note
from services.notifier.bot.commands.confirmation import PLAN, Execute, confirmable
from services.notifier.bot.commands.operations import escape_words, follow
from services.notifier.bot.commands.options import choice_option
from services.notifier.bot.context import BotContext, Command, single
from services.notifier.bot.interaction import Interaction, custom_id
from services.notifier.texts.content import Colour
from services.notifier.texts.message import escape
from shared.topics import SERVICES

REDRIVE = "redrive"
MAX_CAUSES = 5


@single
async def dead_letters(context: BotContext, interaction: Interaction) -> Answer:
    chosen = interaction.text("service")
    services = [chosen] if chosen else list(SERVICES)
    results = await asyncio.gather(*(_facets(context, service) for service in services))
    by_service = dict(zip(services, results, strict=True))
    open_letters = {service: _count(facets) for service, facets in by_service.items() if facets is not None}
    total = sum(open_letters.values())
    fields = tuple(
        EmbedField(f"{service}: {open_letters[service]:,}", "\n".join(_causes(facets)), inline=False)
        for service, facets in by_service.items()
        if facets is not None and open_letters[service]
    )
    silent = [service for service, facets in by_service.items() if facets is None]
    lines = [f"{total:,} open dead letters." if total else "There are no open dead letters."]
    lines += [f"{service} does not answer, so its dead letters are unknown." for service in silent]
    buttons = tuple(
        Button(f"Redrive (dry run): {service}", custom_id(REDRIVE, service))
        for service, count in open_letters.items()
        if count
    )
    colour: Colour = "warning" if total or silent else "good"
    return Answer((Embed("Dead letters", cut_lines(lines, MAX_DESCRIPTION), fields, colour),), buttons)


async def preview_redrive(context: BotContext, click: Interaction) -> AsyncIterator[Answer]:
    """How many letters a redrive would send, with the buttons to confirm or to cancel."""
    service = click.argument
    if service not in SERVICES:
        yield note("This button is not known any more.", "warning")
        return
    plan = await context.change(click, "POST", service, "/dead-letters/redrives", {"all": True, "dry_run": True}, PLAN)
    count = int(plan["counts"]["selected"])
    text = f"{count:,} dead letters of the {service} would be handled again, each once."
    embed = Embed(f"Redrive {service}?", text, (EmbedField("Plan", escape(str(plan["plan_id"]))),), "warning")
    yield confirmable(Answer((embed,)), click, str(plan["plan_id"]))


async def execute_redrive(context: BotContext, request: Interaction, plan_id: str) -> AsyncIterator[Answer]:
    service = request.argument
    operation = await context.change(request, "POST", service, "/dead-letters/redrives", {"plan_id": plan_id})
    async for answer in follow(context, service, operation, f"Redrive {service}"):
        yield answer


async def _facets(context: BotContext, service: str) -> Mapping[str, Any] | None:
    """None if the service does not answer."""
    try:
        body: Mapping[str, Any] = await context.api.get(service, "/dead-letters/facets", {"state": "open"})
    except ApiUnavailable:
        return None
    return body


def _count(facets: Mapping[str, Any]) -> int:
    return sum(int(each["records"]) for each in facets["causes"])


def _causes(facets: Mapping[str, Any]) -> Sequence[str]:
    causes = sorted(facets["causes"], key=lambda each: -int(each["records"]))
    lines = [
        f"{each['records']:,} × {escape(str(each['value']))}: {escape_words(each.get('message') or '')[:120]}"
        for each in causes[:MAX_CAUSES]
    ]
    return lines + ([f"… and {len(causes) - MAX_CAUSES} more causes"] if len(causes) > MAX_CAUSES else [])


COMMANDS = {
    "dead-letters": Command(
        dead_letters,
        {
            "name": "dead-letters",
            "description": "What failed, by cause",
            "options": [choice_option("service", "Only of this service", tuple(SERVICES), required=False)],
        },
    )
}
BUTTONS = {REDRIVE: Command(preview_redrive, scope="operate", private=True)}
EXECUTES: Mapping[str, Execute] = {REDRIVE: execute_redrive}
