"""The commands `/ack` and `/mute`, and the button *Acknowledge* of an alert."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator

from services.notifier.bot.answers import Answer, note
from services.notifier.bot.commands.options import complete_rule, text_option
from services.notifier.bot.context import BotContext, Command, single
from services.notifier.bot.interaction import Interaction
from services.notifier.texts.message import escape

ACKNOWLEDGE = "ack"
SERVICE = "notifier"
# As the notifier's API takes it.
DURATION = re.compile(r"[0-9]{1,9}[smhdw]")
DURATIONS = ("15m", "1h", "4h", "12h", "1d", "7d")


@single
async def acknowledge(context: BotContext, interaction: Interaction) -> Answer:
    incident = interaction.text("id").lstrip("#")
    if not incident.isdecimal():
        return note("Expected the number of an alert. Choose one of the list.", "warning", "Unknown alert")
    await _acknowledge(context, interaction, incident)
    return note(f"Alert {incident} is acknowledged.", "good", "Acknowledged")


async def click_acknowledge(context: BotContext, click: Interaction) -> AsyncIterator[Answer]:
    """Shows no answer of its own: the alert's message changes, wherever it is shown."""
    await _acknowledge(context, click, click.argument)
    return
    yield  # makes this function an iterator


@single
async def mute(context: BotContext, interaction: Interaction) -> Answer:
    rule, span = interaction.text("rule"), interaction.text("for")
    if rule not in context.rule_names():
        return note(f"There is no rule {escape(rule)}. Choose one of the list.", "warning", "Unknown rule")
    if DURATION.fullmatch(span) is None:
        return note("Expected a time like 30m, 4h or 7d. Nothing was changed.", "warning", "Unknown time")
    created = await context.change(interaction, "POST", SERVICE, "/mutes", {"rule": rule, "for": span})
    until = str(created["until"])[:16].replace("T", " ")
    return note(f"**{escape(rule)}** sends nothing until {until} UTC.", "good", "Muted")


async def complete_incident(context: BotContext, interaction: Interaction) -> list[tuple[str, str]]:
    """The open alerts."""
    body = await context.api.get(SERVICE, "/incidents", {"state": "open"})
    typed = interaction.text("id")
    return [
        (f"{each['id']}: {each['kind']} · {each['subject']}", str(each["id"]))
        for each in body["incidents"]
        if typed in str(each["id"]) or typed in each["kind"] or typed in each["subject"]
    ]


async def complete_duration(_: BotContext, interaction: Interaction) -> list[tuple[str, str]]:
    typed = interaction.text("for")
    return [(each, each) for each in dict.fromkeys((*((typed,) if typed else ()), *DURATIONS)) if typed in each]


async def _acknowledge(context: BotContext, interaction: Interaction, incident: str) -> None:
    await context.change(interaction, "POST", SERVICE, f"/incidents/{int(incident)}/acknowledge", {})


COMMANDS = {
    "ack": Command(
        acknowledge,
        {
            "name": "ack",
            "description": "Acknowledge an alert",
            "options": [text_option("id", "Number of the alert", complete=True, max_length=20)],
        },
        scope="operate",
        private=True,
        complete={"id": complete_incident},
    ),
    "mute": Command(
        mute,
        {
            "name": "mute",
            "description": "Send nothing of a rule for some time",
            "options": [
                text_option("rule", "The rule", complete=True),
                text_option("for", "For example 30m, 4h, 7d", complete=True, max_length=10),
            ],
        },
        scope="operate",
        private=True,
        complete={"rule": complete_rule, "for": complete_duration},
    ),
}
BUTTONS = {ACKNOWLEDGE: Command(click_acknowledge, scope="operate", in_place=True)}
