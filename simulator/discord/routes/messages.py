"""Messages of channels and their pins."""

from __future__ import annotations

from simulator.discord import posting
from simulator.discord.errors import MISSING_PERMISSIONS, ApiError
from simulator.discord.guild import THREAD
from simulator.discord.routes.call import NO_CONTENT, ApiCall, ApiReply
from simulator.discord.snowflakes import timestamp_of


def create_message(call: ApiCall) -> ApiReply:
    state = call.state
    channel = call.channel()
    channel = call.channel("send_messages_in_threads" if channel.kind == THREAD else "send_messages")
    state.check_recipient(channel)
    body = call.message_body()
    if body.uploads:
        call.channel("attach_files")
    return ApiReply(posting.post(state, channel, state.guild.bot, body).payload(state.guild))


def edit_message(call: ApiCall) -> ApiReply:
    state = call.state
    message = state.message(call.channel(), call.id_of("message"))
    return ApiReply(posting.edit(state, message, call.message_body(), state.guild.bot).payload(state.guild))


def get_message(call: ApiCall) -> ApiReply:
    message = call.state.message(call.channel("read_message_history"), call.id_of("message"))
    return ApiReply(message.payload(call.state.guild))


def list_messages(call: ApiCall) -> ApiReply:
    messages = call.state.messages_in(call.channel("read_message_history"))
    return ApiReply([each.payload(call.state.guild) for each in posting.page_of(messages, call.query)])


def delete_message(call: ApiCall) -> ApiReply:
    channel = call.channel()
    message = call.state.message(channel, call.id_of("message"))
    if message.author.id != call.state.guild.bot.id and "manage_messages" in call.state.denied(channel):
        raise ApiError(MISSING_PERMISSIONS)
    posting.delete(call.state, message)
    return NO_CONTENT


def pin_message(call: ApiCall) -> ApiReply:
    message = call.state.message(call.channel("pin_messages"), call.id_of("message"))
    posting.pin(call.state, message, call.state.guild.bot)
    return NO_CONTENT


def unpin_message(call: ApiCall) -> ApiReply:
    message = call.state.message(call.channel("pin_messages"), call.id_of("message"))
    posting.unpin(call.state, message)
    return NO_CONTENT


def list_pins(call: ApiCall) -> ApiReply:
    pinned = posting.pins(call.state, call.channel("read_message_history"))
    guild = call.state.guild
    items = [{"pinned_at": timestamp_of(each.pinned_at or 0), "message": each.payload(guild)} for each in pinned]
    return ApiReply({"items": items, "has_more": False})


def list_pins_of_old_route(call: ApiCall) -> ApiReply:
    pinned = posting.pins(call.state, call.channel("read_message_history"))
    return ApiReply([each.payload(call.state.guild) for each in pinned])
