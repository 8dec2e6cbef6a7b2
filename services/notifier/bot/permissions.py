"""Decides what a person may do. Discord's own command permissions are not relied on."""

from __future__ import annotations

from collections.abc import Mapping

from services.notifier.bot.interaction import DiscordPerson
from services.notifier.settings import PersonScope
from shared.ops.tokens import allows


def scope_of(person: DiscordPerson, guild_id: int, roles: Mapping[int, PersonScope]) -> PersonScope | None:
    """The highest scope of the person's roles, and `read` for anybody in the guild. None elsewhere, also in direct
    messages."""
    if person.guild_id != guild_id:
        return None
    scope: PersonScope = "read"
    for role, role_scope in roles.items():
        if role in person.role_ids and allows(role_scope, scope):
            scope = role_scope
    return scope
