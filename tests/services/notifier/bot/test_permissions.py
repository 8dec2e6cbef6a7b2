"""What a person may do: the highest scope of their roles in the one guild, and nothing elsewhere."""

from __future__ import annotations

import pytest

from services.notifier.bot.interaction import DiscordPerson
from services.notifier.bot.permissions import scope_of
from services.notifier.settings import PersonScope

GUILD = 100
ROLES: dict[int, PersonScope] = {1: "read", 2: "operate"}


@pytest.mark.parametrize(
    ("guild", "roles", "scope"),
    [
        (GUILD, set(), "read"),
        (GUILD, {1}, "read"),
        (GUILD, {2}, "operate"),
        (GUILD, {2, 1, 9}, "operate"),
        (GUILD, {9}, "read"),
        (101, {2}, None),
        (None, {2}, None),
    ],
)
def test_scope(guild: int | None, roles: set[int], scope: str | None) -> None:
    assert scope_of(DiscordPerson(7, "Ana", guild, frozenset(roles)), GUILD, ROLES) == scope
