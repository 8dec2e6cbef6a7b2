"""Parses what Discord says about a command, a button or a completion into one form.

The form does not depend on the client library, so an interaction can be stored and handled by another replica.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from shared.errors import HeadraceError

InteractionKind = Literal["command", "button", "completion"]
_KINDS: Mapping[int, InteractionKind] = {2: "command", 3: "button", 4: "completion"}
BUTTON_PREFIX = "hr"
EPHEMERAL = 1 << 6
MAX_NAME_LENGTH = 80

OptionValue = str | int | float | bool


class InvalidInteraction(HeadraceError):
    """The payload is not an interaction that the bot knows."""


@dataclass(frozen=True)
class DiscordPerson:
    """Who interacts. `guild_id` is None in direct messages, where a person has no roles."""

    id: int
    name: str
    guild_id: int | None = None
    role_ids: frozenset[int] = frozenset()

    @property
    def label(self) -> str:
        return f"discord:{self.id} ({self.name})"


@dataclass(frozen=True)
class Interaction:
    """One use of a command, a button or a completion.

    `name` is the command, or the action of a button `hr:ACTION:ARGUMENT`. `options` are the command's options by name;
    `focused` is the option that a completion is for. `token` allows answers for 15 minutes and is a secret.
    `message_id` is the message with the button; `is_private_message` tells whether only the person sees it.
    """

    id: int
    application_id: int
    token: str = field(repr=False)
    kind: InteractionKind
    name: str
    person: DiscordPerson
    channel_id: int | None = None
    argument: str = ""
    options: Mapping[str, OptionValue] = field(default_factory=dict)
    focused: str | None = None
    message_id: int | None = None
    is_private_message: bool = False

    def text(self, option: str) -> str:
        """The option as text; empty if it is missing."""
        value = self.options.get(option)
        return "" if value is None else str(value).strip()

    def number(self, option: str) -> int | None:
        """The option as a number; None if it is missing or not a number."""
        value = self.options.get(option)
        return value if isinstance(value, int) and not isinstance(value, bool) else None


def interaction_of(payload: Mapping[str, Any]) -> Interaction:
    """Parse the data of an INTERACTION_CREATE event. Raises InvalidInteraction for any other content."""
    try:
        kind = _KINDS[payload["type"]]
        data = payload["data"]
        name, argument = (data["name"], "") if kind != "button" else _action_of(data["custom_id"])
        options = _options(data.get("options") or ()) if kind != "button" else {}
        message = payload.get("message") or {}
        return Interaction(
            id=int(payload["id"]),
            application_id=int(payload["application_id"]),
            token=_text(payload["token"]),
            kind=kind,
            name=_text(name),
            person=_person_of(payload),
            channel_id=None if payload.get("channel_id") is None else int(payload["channel_id"]),
            argument=argument,
            options={each["name"]: each["value"] for each in options},
            focused=next((each["name"] for each in options if each.get("focused")), None),
            message_id=int(message["id"]) if "id" in message else None,
            is_private_message=bool(int(message.get("flags") or 0) & EPHEMERAL),
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise InvalidInteraction(f"not an interaction of this bot: {type(error).__name__}: {error}") from error


def custom_id(action: str, argument: object = "") -> str:
    return f"{BUTTON_PREFIX}:{action}:{argument}"


def _action_of(text: str) -> tuple[str, str]:
    prefix, action, argument = text.split(":", 2)
    if prefix != BUTTON_PREFIX:
        raise ValueError(f"unknown button {text!r}")
    return action, argument


def _options(options: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    for each in options:
        if not isinstance(each["value"], (str, int, float, bool)) or not isinstance(each["name"], str):
            raise TypeError(f"option {each['name']!r} has no plain value")
    return list(options)


def _person_of(payload: Mapping[str, Any]) -> DiscordPerson:
    member = payload.get("member")
    user = payload["user"] if member is None else member["user"]
    nickname = None if member is None else member.get("nick")
    name = nickname or user.get("global_name") or user["username"]
    return DiscordPerson(
        id=int(user["id"]),
        name=_text(name)[:MAX_NAME_LENGTH],
        guild_id=int(payload["guild_id"]) if member is not None and payload.get("guild_id") is not None else None,
        role_ids=frozenset(int(role) for role in (member or {}).get("roles") or ()),
    )


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"expected text, got {type(value).__name__}")
    return value
