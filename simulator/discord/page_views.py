"""What the page shows to a person, as JSON."""

from __future__ import annotations

from simulator.discord import people
from simulator.discord.errors import Payload
from simulator.discord.guild import DIRECT, TEXT, THREAD, ChatChannel, ChatUser
from simulator.discord.interactions import InteractionRecord
from simulator.discord.message_rules import LOADING
from simulator.discord.messages import PostedMessage
from simulator.discord.simulation import DiscordSimulation

MOST_MESSAGES = 200


def overview(simulation: DiscordSimulation, person: ChatUser) -> Payload:
    guild = simulation.state.guild
    channels = [each for each in guild.channels.values() if each.person in (None, person)]
    return {
        "guild": {"id": str(guild.id), "name": guild.name},
        "bot": {"name": guild.bot.name, "connected": bool(simulation.sessions.connected())},
        "people": [_person(simulation, each) for each in guild.people.values()],
        "roles": [{"id": str(role.id), "name": role.name} for role in guild.roles.values()],
        "channels": [_channel(each) for each in channels if each.kind in {TEXT, DIRECT}],
        "threads": [_channel(each) for each in channels if each.kind == THREAD],
    }


def channel_view(simulation: DiscordSimulation, channel: ChatChannel, person: ChatUser) -> Payload:
    """The newest messages that the person sees, oldest first, and the commands that can be used here."""
    state = simulation.state
    messages = state.messages_in(channel, person)
    return {
        "channel": _channel(channel),
        "messages": [_message(simulation, each, person) for each in messages[-MOST_MESSAGES:]],
        "pinned": [str(each.id) for each in messages if each.pinned_at is not None],
        "commands": [
            {"name": each["name"], "description": each["description"]} for each in people.commands_for(state, channel)
        ],
    }


def interaction_view(simulation: DiscordSimulation, record: InteractionRecord) -> Payload:
    """Whether and how the bot answered. `failed`: it did not answer in Discord's time."""
    is_late = simulation.state.clock() - record.created_at > simulation.state.first_answer_s
    return {
        "id": str(record.id),
        "answered": record.answered_at is not None,
        "failed": record.answered_at is None and is_late,
        "choices": record.choices,
        "dialog": record.dialog,
    }


def _message(simulation: DiscordSimulation, message: PostedMessage, person: ChatUser) -> Payload:
    state = simulation.state
    payload = message.payload(state.guild)
    about = None if message.interaction is None else message.interaction["interaction_metadata"]
    used = None if about is None else state.interactions.get(int(about["id"]))
    return payload | {
        "only_you": message.is_ephemeral,
        "thinking": bool(message.flags & LOADING),
        "asked_by": None if used is None else used.person.name,
        "asked_with": None if used is None else used.data.get("name"),
        "edited": message.edited_at is not None,
        "notifies_you": bool({"everyone", f"user:{person.id}", *_roles(person)} & set(message.mentions.pings)),
        "pings": list(message.mentions.pings),
    }


def _roles(person: ChatUser) -> set[str]:
    return {f"role:{each}" for each in person.role_ids}


def _person(simulation: DiscordSimulation, person: ChatUser) -> Payload:
    roles = [simulation.state.guild.roles[each].name for each in person.role_ids]
    return {"id": str(person.id), "name": person.name, "roles": roles, "blocks_bot": person.blocks_bot}


def _channel(channel: ChatChannel) -> Payload:
    return {
        "id": str(channel.id),
        "name": channel.name,
        "topic": channel.topic,
        "kind": {TEXT: "text", DIRECT: "direct", THREAD: "thread"}[channel.kind],
        "parent": None if channel.parent_id is None else str(channel.parent_id),
        "last_message": None if channel.last_message_id is None else str(channel.last_message_id),
    }
