"""Options that several commands share, in the form of Discord's API, and their completions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from services.notifier.bot.context import BotContext
from services.notifier.bot.interaction import Interaction
from shared.topics import SERVICES

_STRING, _INTEGER = 3, 4

Option = Mapping[str, Any]


def text_option(
    name: str, description: str, *, required: bool = True, complete: bool = False, max_length: int = 100
) -> Option:
    return {
        "type": _STRING, "name": name, "description": description, "required": required, "autocomplete": complete,
        "max_length": max_length,
    }  # fmt: skip


def number_option(name: str, description: str, low: int, high: int) -> Option:
    return {
        "type": _INTEGER, "name": name, "description": description, "required": False, "min_value": low,
        "max_value": high,
    }  # fmt: skip


def choice_option(name: str, description: str, choices: tuple[str, ...], *, required: bool = True) -> Option:
    return {
        "type": _STRING, "name": name, "description": description, "required": required,
        "choices": [{"name": each, "value": each} for each in choices],
    }  # fmt: skip


SERVICE_OPTION = choice_option("service", "The service", tuple(SERVICES))
TOPIC_OPTION = text_option("topic", "The topic that it reads or writes", complete=True)


async def complete_rule(context: BotContext, interaction: Interaction) -> list[tuple[str, str]]:
    """The rules whose name contains what was typed."""
    typed = interaction.text("rule").lower()
    return [(name, name) for name in context.rule_names() if typed in name]


async def complete_topic(context: BotContext, interaction: Interaction) -> list[tuple[str, str]]:
    """The topics of the chosen service."""
    service, typed = interaction.text("service"), interaction.text("topic").lower()
    if service not in SERVICES:
        return []
    body = await context.api.get(service, "/topics")
    return [(each["topic"], each["topic"]) for each in body["topics"] if typed in each["topic"]]
