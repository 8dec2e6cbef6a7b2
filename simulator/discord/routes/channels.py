"""Channels, direct messages and threads."""

from __future__ import annotations

from simulator.discord import posting
from simulator.discord.errors import UNKNOWN_CHANNEL, ApiError, FormErrors
from simulator.discord.guild import THREAD
from simulator.discord.routes.call import NO_CONTENT, ApiCall, ApiReply


def get_channel(call: ApiCall) -> ApiReply:
    return ApiReply(call.channel().payload(call.state.guild.id))


def edit_channel(call: ApiCall) -> ApiReply:
    """Only threads: their name, and whether they are archived or locked."""
    thread = call.channel("send_messages_in_threads")
    if thread.kind != THREAD:
        raise ApiError(UNKNOWN_CHANNEL)
    form, payload = FormErrors(), call.payload
    name = form.text(payload["name"], ("name",), 100, 1) if "name" in payload else thread.name
    archived, locked = (
        form.boolean(payload[key], (key,)) if key in payload else now
        for key, now in (("archived", thread.is_archived), ("locked", thread.is_locked))
    )
    form.raise_if_any()
    thread.name, thread.is_archived, thread.is_locked = name, archived, locked
    data = thread.payload(call.state.guild.id)
    call.state.emit("THREAD_UPDATE", data, thread)
    return ApiReply(data)


def open_direct_messages(call: ApiCall) -> ApiReply:
    form = FormErrors()
    recipient = form.snowflake(call.payload.get("recipient_id"), ("recipient_id",))
    form.raise_if_any()
    return ApiReply(call.state.direct_channel(recipient).payload(call.state.guild.id))


def start_message_thread(call: ApiCall) -> ApiReply:
    channel = call.channel("create_public_threads")
    message = call.state.message(channel, call.id_of("message"))
    thread = posting.start_thread(call.state, channel, message, call.payload, call.state.guild.bot)
    return ApiReply(thread.payload(call.state.guild.id), 201)


def start_thread(call: ApiCall) -> ApiReply:
    channel = call.channel("create_public_threads")
    thread = posting.start_thread(call.state, channel, None, call.payload, call.state.guild.bot)
    return ApiReply(thread.payload(call.state.guild.id), 201)


def join_thread(call: ApiCall) -> ApiReply:
    call.channel()
    return NO_CONTENT


def trigger_typing(call: ApiCall) -> ApiReply:
    call.channel("send_messages")
    return NO_CONTENT


def list_active_threads(call: ApiCall) -> ApiReply:
    guild = call.state.guild
    threads = [each for each in guild.channels.values() if each.kind == THREAD and not each.is_archived]
    return ApiReply({"threads": [each.payload(guild.id) for each in threads], "members": []})
