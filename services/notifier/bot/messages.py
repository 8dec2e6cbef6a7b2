"""Turns a notification into the body of a message: an embed with a colour, buttons, and a footer that identifies it."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

from services.notifier.bot.answers import (
    MAX_DESCRIPTION,
    MAX_LABEL,
    Answer,
    Button,
    ButtonStyle,
    Embed,
    cut,
    cut_lines,
    payload_of,
)
from services.notifier.bot.interaction import BUTTON_PREFIX
from services.notifier.texts.content import Content

MARK_LENGTH = 16
# Label and style of the buttons that a notification may have, by action.
_BUTTONS: Mapping[str, tuple[str, ButtonStyle]] = {
    "ack": ("Acknowledge", "primary"),
    "unsubscribe": ("Unsubscribe", "secondary"),
}
MAX_THREAD_NAME = 100


def mark_of(message_id: str) -> str:
    """A short text that identifies a message in its footer and as its nonce, the same in every attempt."""
    return hashlib.sha256(message_id.encode()).hexdigest()[:MARK_LENGTH]


def notification_body(
    text: str, parts: Sequence[str], content: Content | None, subject: str, mark: str, picture: str | None = None
) -> dict[str, Any]:
    """The body of a message. `parts` are the first lines of a digest's notifications; `subject` is an event key."""
    shown = content or Content()
    if parts:
        embed = Embed(f"{len(parts)} notifications", cut_lines(parts, MAX_DESCRIPTION), footer=f"#{mark}")
        return payload_of(Answer((embed,)))
    title, _, rest = text.partition("\n")
    footer = f"{cut(subject, MAX_LABEL)} · #{mark}"
    embed = Embed(title.replace("**", ""), rest, colour=shown.colour, footer=footer, picture=picture)
    return payload_of(Answer((embed,), buttons_of(shown)))


def details_body(details: str, mark: str) -> dict[str, Any]:
    return payload_of(Answer((Embed(description=details, footer=f"#{mark}"),)))


def thread_name(text: str) -> str:
    """The name of a notification's thread: its first line without marks."""
    name = text.partition("\n")[0].replace("**", "").replace("\\", "").strip()
    return cut(name, MAX_THREAD_NAME) or "Details"


def buttons_of(content: Content) -> tuple[Button, ...]:
    """The buttons of the actions `hr:ACTION:ARGUMENT`. Those that this version does not know are left out."""
    buttons = []
    for action_id in content.actions:
        prefix, _, rest = action_id.partition(":")
        known = _BUTTONS.get(rest.partition(":")[0])
        if prefix == BUTTON_PREFIX and known is not None:
            buttons.append(Button(known[0], action_id, known[1]))
    return tuple(buttons)
