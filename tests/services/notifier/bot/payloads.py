"""Payloads of interactions as Discord sends them."""

from __future__ import annotations

from typing import Any

APPLICATION, GUILD, CHANNEL, TOKEN = 900_000_000_000_000_001, 900_000_000_000_000_002, 900_000_000_000_000_003, "secret"


def command(
    name: str, interaction_id: int = 1, person: int = 7, roles: tuple[int, ...] = (), **options: Any
) -> dict[str, Any]:
    """A command in the guild."""
    return {
        "id": str(interaction_id), "application_id": str(APPLICATION), "type": 2, "token": TOKEN, "version": 1,
        "guild_id": str(GUILD), "channel_id": str(CHANNEL), "member": member(person, roles),
        "data": {"id": "5", "name": name, "type": 1,
                 "options": [{"name": key, "type": 3, "value": value} for key, value in options.items()]},
    }  # fmt: skip


def click(
    custom_id: str, interaction_id: int = 2, person: int = 7, roles: tuple[int, ...] = (), flags: int = 0
) -> dict[str, Any]:
    """A click on a button in the guild."""
    payload = command("", interaction_id, person, roles)
    payload |= {"type": 3, "data": {"custom_id": custom_id, "component_type": 2}}
    payload["message"] = {"id": "55", "flags": flags}
    return payload


def member(person: int, roles: tuple[int, ...] = (), nick: str | None = None) -> dict[str, Any]:
    user = {"id": str(person), "username": f"person{person}", "global_name": None}
    return {"user": user, "nick": nick, "roles": [str(role) for role in roles]}
