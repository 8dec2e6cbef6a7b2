"""Answers to interactions, and messages through a webhook. The token in the path is the authorization."""

from __future__ import annotations

from simulator.discord import answers, posting
from simulator.discord.errors import FormErrors, Payload
from simulator.discord.interactions import InteractionRecord
from simulator.discord.messages import PostedMessage
from simulator.discord.routes.call import NO_CONTENT, ApiCall, ApiReply


def answer_interaction(call: ApiCall) -> ApiReply:
    state, payload = call.state, call.payload
    callback = payload.get("type")
    record = state.interactions.answerable(call.id_of("interaction"), call.parameters["token"], callback, state.clock())
    response = answers.answer(state, record, payload, call.uploads)
    return ApiReply(response) if call.query.get("with_response", "") in {"1", "true"} else NO_CONTENT


def create_webhook_message(call: ApiCall) -> ApiReply:
    """A further message of an interaction, or a message of a webhook."""
    if _is_application(call):
        record = _record(call)
        return ApiReply(answers.follow_up(call.state, record, call.message_body()).payload(call.state.guild))
    state = call.state
    webhook = state.webhook(call.id_of("webhook"), call.parameters["token"])
    shown = (webhook.id, _name(call.payload, webhook.name))
    message = posting.post(state, webhook.channel, state.guild.bot, call.message_body(), webhook=shown)
    return ApiReply(message.payload(state.guild)) if call.query.get("wait") in {"1", "true"} else NO_CONTENT


def get_webhook_message(call: ApiCall) -> ApiReply:
    return ApiReply(_message(call).payload(call.state.guild))


def edit_webhook_message(call: ApiCall) -> ApiReply:
    message = posting.edit(call.state, _message(call), call.message_body(), call.state.guild.bot)
    return ApiReply(message.payload(call.state.guild))


def delete_webhook_message(call: ApiCall) -> ApiReply:
    posting.delete(call.state, _message(call))
    return NO_CONTENT


def get_webhook(call: ApiCall) -> ApiReply:
    webhook = call.state.webhook(call.id_of("webhook"), call.parameters["token"])
    about = {"id": str(webhook.id), "type": 1, "name": webhook.name, "avatar": None, "token": webhook.token}
    return ApiReply(about | {"channel_id": str(webhook.channel.id), "guild_id": str(call.state.guild.id)})


def _is_application(call: ApiCall) -> bool:
    return call.id_of("webhook") == call.state.guild.application_id


def _record(call: ApiCall) -> InteractionRecord:
    return call.state.interactions.of_token(call.parameters["token"], call.state.clock())


def _message(call: ApiCall) -> PostedMessage:
    state, name = call.state, call.parameters["message"]
    if _is_application(call):
        return answers.message_of(state, _record(call), name)
    webhook = state.webhook(call.id_of("webhook"), call.parameters["token"])
    return state.message(webhook.channel, call.id_of("message"))


def _name(payload: Payload, default: str) -> str:
    if payload.get("username") is None:
        return default
    form = FormErrors()
    name = form.text(payload["username"], ("username",), 80, 1)
    form.raise_if_any()
    return name
