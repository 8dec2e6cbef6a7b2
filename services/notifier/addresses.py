"""Parses the addresses of notifications: a channel's kind, or `KIND/DESTINATION`."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Literal, NamedTuple, get_args

from shared.errors import ConfigError

ChannelKind = Literal["console", "discord", "discord-bot", "email", "slack", "webhook"]
KINDS: tuple[str, ...] = get_args(ChannelKind)
# Kinds that send to one of several places, named by the operator.
_NAMED = frozenset({"email", "slack", "webhook"})
_NAME = re.compile(r"[a-z][a-z0-9-]{0,39}")
# Discord's ids are unsigned 64-bit integers.
_SNOWFLAKE = re.compile(r"(channel|user)/[1-9][0-9]{0,19}")


class Destination(NamedTuple):
    """An address in its parts. `place` is `channel/ID` or `user/ID` for discord-bot, a name, or empty."""

    kind: str
    place: str = ""

    def __str__(self) -> str:
        return f"{self.kind}/{self.place}" if self.place else self.kind


def kind_of(address: str) -> str:
    """The kind of the channel that sends to the address: `discord-bot` for `discord-bot/channel/1234`."""
    return address.partition("/")[0]


def place_of(address: str) -> str:
    """The part after the kind; empty if the address is only a kind."""
    return address.partition("/")[2]


def parse_address(text: str) -> Destination:
    """Raises ConfigError if no channel can send to the address."""
    kind, place = kind_of(text), place_of(text)
    if kind not in KINDS:
        raise ConfigError(f"address {text!r}: expected a channel among {', '.join(KINDS)}")
    if kind == "discord-bot" and not _SNOWFLAKE.fullmatch(place):
        raise ConfigError(f"address {text!r}: expected discord-bot/channel/ID or discord-bot/user/ID")
    if kind not in {"discord-bot", text} and not (kind in _NAMED and _NAME.fullmatch(place)):
        expected = f"{kind} or {kind}/NAME" if kind in _NAMED else kind
        raise ConfigError(f"address {text!r}: expected {expected}")
    return Destination(kind, place)


def by_name(entries: Iterable[str]) -> dict[str, tuple[str, ...]]:
    """The values of entries `VALUE` or `NAME=VALUE`, by name; the empty name has those without one.

    A name is what follows the kind in an address. Raises ValueError for anything else.
    """
    values: dict[str, tuple[str, ...]] = {}
    for entry in entries:
        name, equals, value = entry.partition("=")
        if not equals:
            name, value = "", entry
        if (equals and not _NAME.fullmatch(name)) or not value:
            raise ValueError(f"expected VALUE or NAME=VALUE, with a name such as night-shift, got {entry!r}")
        values[name] = (*values.get(name, ()), value)
    return values
