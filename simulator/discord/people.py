"""What people do in the simulated Discord: they write and use commands and buttons.

Each interaction is an event for the bot.
"""

from __future__ import annotations

from collections.abc import Mapping

from simulator.discord import posting
from simulator.discord.command_rules import SLASH, OptionValue, entered_options
from simulator.discord.component_rules import BUTTON, LINK_STYLE, items_of
from simulator.discord.errors import ApiError, Payload
from simulator.discord.guild import DIRECT, ChatChannel, ChatUser
from simulator.discord.interactions import AUTOCOMPLETE, COMMAND, COMPONENT, DIALOG, InteractionRecord, token_of
from simulator.discord.message_rules import MessageBody
from simulator.discord.messages import PostedMessage
from simulator.discord.state import DiscordState


def use_command(
    state: DiscordState,
    person: ChatUser,
    channel: ChatChannel,
    text: str,
    options: Mapping[str, OptionValue],
    focused: str | None = None,
) -> InteractionRecord:
    """Send a slash command, or with `focused` request completions of that option.

    `text`: its name and subcommands, as in `/dead-letters redrive`. Raises ValueError where Discord's client would
    not send the command: it is not registered, or an option is missing, unknown or invalid.
    """
    name, *words = text.removeprefix("/").split()
    command = next((each for each in commands_for(state, channel) if each["name"] == name), None)
    if command is None:
        raise ValueError(f"no command /{name} is registered for {channel.name}")
    data = {"id": command["id"], "name": name, "type": SLASH}
    data["options"] = entered_options(command, words, options, focused)
    if "guild_id" in command:
        data["guild_id"] = command["guild_id"]
    return _interact(state, COMMAND if focused is None else AUTOCOMPLETE, person, channel, data)


def commands_for(state: DiscordState, channel: ChatChannel) -> list[Payload]:
    """The slash commands that can be used in a channel; a command of the guild hides a global one of its name."""
    commands = {}
    for guild_id in (None, state.guild.id):
        for command in state.commands.get(guild_id, {}).values():
            contexts = command["contexts"]
            is_shown = channel.kind != DIRECT or (guild_id is None and (contexts is None or 1 in contexts))
            if command["type"] == SLASH and is_shown:
                commands[command["name"]] = command
    return sorted(commands.values(), key=lambda command: str(command["name"]))


def use_component(
    state: DiscordState, person: ChatUser, message: PostedMessage, custom_id: str, values: list[str] | None = None
) -> InteractionRecord:
    """Click a button or choose from a menu. Raises ValueError if the message has no such component that is enabled."""
    if message.only_for is not None and message.only_for is not person:
        raise ValueError(f"{person.name} does not see this message")
    component = next((each for each in items_of(message.components) if each.get("custom_id") == custom_id), None)
    if component is None or component.get("disabled") or component.get("style") == LINK_STYLE:
        shown = [each["custom_id"] for each in items_of(message.components) if "custom_id" in each]
        raise ValueError(f"the message has no enabled component {custom_id}, only {shown}")
    data: Payload = {"custom_id": custom_id, "component_type": component["type"], "id": component.get("id", 1)}
    if component["type"] != BUTTON:
        data["values"] = values or []
    return _interact(state, COMPONENT, person, message.channel, data, message)


def submit_dialog(state: DiscordState, record: InteractionRecord, values: Mapping[str, str]) -> InteractionRecord:
    """Send the dialog that an interaction was answered with. Raises ValueError if there is none."""
    if record.dialog is None:
        raise ValueError("the interaction was not answered with a dialog")
    rows = []
    for i, (custom_id, value) in enumerate(values.items()):
        field = {"type": 4, "custom_id": custom_id, "value": value, "id": 2 * i + 2}
        rows.append({"type": 1, "id": 2 * i + 1, "components": [field]})
    data = {"custom_id": record.dialog["custom_id"], "components": rows}
    return _interact(state, DIALOG, record.person, record.channel, data, record.message)


def write(state: DiscordState, person: ChatUser, channel: ChatChannel, text: str) -> PostedMessage:
    """Post a message of a person. Raises ValueError where Discord refuses it."""
    try:
        return posting.post(state, channel, person, MessageBody(content=text[:2000].strip()))
    except ApiError as error:
        raise ValueError(error.message) from error


def _interact(
    state: DiscordState,
    kind: int,
    person: ChatUser,
    channel: ChatChannel,
    data: Payload,
    message: PostedMessage | None = None,
) -> InteractionRecord:
    number = state.next_id()
    token = token_of(number, state.token)
    record = InteractionRecord(number, token, kind, person, channel, data, state.clock(), message)
    state.interactions.add(record)
    state.emit("INTERACTION_CREATE", interaction_payload(state, record), channel)
    return record


def interaction_payload(state: DiscordState, record: InteractionRecord) -> Payload:
    """The event that the bot receives."""
    guild, person, channel = state.guild, record.person, record.channel
    payload: Payload = {
        "id": str(record.id),
        "application_id": str(guild.application_id),
        "type": record.kind,
        "version": 1,
        "token": record.token,
        "data": record.data,
        "channel_id": str(channel.id),
        "locale": "en-US",
        "channel": channel.payload(guild.id),
        "entitlements": [],
        "entitlement_sku_ids": [],
        "attachment_size_limit": 10 * 1024 * 1024,
        "app_permissions": str(guild.permissions_of(guild.bot)),
    }
    if record.message is not None:
        payload["message"] = record.message.payload(guild)
    if channel.kind == DIRECT:
        owners = {"0": "0"}
        return payload | {"user": person.payload(), "context": 1, "authorizing_integration_owners": owners}
    permissions = str(guild.permissions_of(person))
    payload["channel"]["permissions"] = permissions
    return payload | {
        "guild_id": str(guild.id),
        "guild_locale": "en-US",
        "context": 0,
        "guild": {"id": str(guild.id), "locale": "en-US", "features": []},
        "member": person.member_payload() | {"permissions": permissions},
        "authorizing_integration_owners": {"0": str(guild.id)},
    }
