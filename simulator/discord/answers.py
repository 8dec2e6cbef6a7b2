"""How the bot answers an interaction: the first answer, its later edits and further messages."""

from __future__ import annotations

from simulator.discord import posting
from simulator.discord.command_rules import check_choices
from simulator.discord.component_rules import read_dialog
from simulator.discord.errors import UNKNOWN_MESSAGE, ApiError, FormErrors, Payload
from simulator.discord.interactions import (
    ANSWER,
    CHOICES,
    DEFERRED_ANSWER,
    DEFERRED_EDIT,
    EDIT,
    OPEN_DIALOG,
    InteractionRecord,
)
from simulator.discord.message_rules import EPHEMERAL, LOADING, MessageBody, Upload, read_message
from simulator.discord.messages import COMMAND_ANSWER, REPLY, PostedMessage
from simulator.discord.state import DiscordState


def answer(state: DiscordState, record: InteractionRecord, payload: Payload, uploads: tuple[Upload, ...]) -> Payload:
    """Give the first answer. `Interactions.answerable` has checked that this is allowed.

    Returns the response body. Raises ApiError.
    """
    callback = payload["type"]
    data = payload.get("data")
    if callback in {ANSWER, DEFERRED_ANSWER}:
        _answer_with_message(state, record, callback, _object(data), uploads)
    elif callback == EDIT:
        body = read_message(_object(data), uploads, ("data",))
        if record.message is not None:
            record.original = posting.edit(state, record.message, body, state.guild.bot)
    elif callback == DEFERRED_EDIT:
        record.original = record.message
    elif callback == CHOICES:
        form = FormErrors()
        record.choices = check_choices(_object(data).get("choices"), None, ("data", "choices"), form)
        form.raise_if_any()
    elif callback == OPEN_DIALOG:
        form = FormErrors()
        record.dialog = read_dialog(data, ("data",), form)
        form.raise_if_any()
    record.callback = callback
    record.answered_at = state.clock()
    state.emit("FAKE_INTERACTION_ANSWERED", {"id": str(record.id)}, record.channel, record.person)
    return _response(state, record)


def follow_up(state: DiscordState, record: InteractionRecord, body: MessageBody) -> PostedMessage:
    """A further message. The first one after a deferral without an answer becomes the answer. Raises ApiError."""
    if record.original is not None and record.original.flags & LOADING:
        return posting.edit(state, record.original, body, state.guild.bot)
    about = _about(record, None if record.original is None else record.original.id)
    message = posting.post(
        state, record.channel, state.guild.bot, body, interaction=about, only_for=record.person, kind=REPLY
    )
    record.messages.append(message)
    return message


def message_of(state: DiscordState, record: InteractionRecord, name: str) -> PostedMessage:
    """The answer (`@original`) or another message of the interaction. Raises ApiError."""
    messages = [*record.messages, *([] if record.original is None else [record.original])]
    wanted = None if record.original is None else str(record.original.id)
    name = (wanted or "") if name == "@original" else name
    message = next((each for each in messages if str(each.id) == name and each.id in state.messages), None)
    if message is None:
        raise ApiError(UNKNOWN_MESSAGE)
    return message


def _answer_with_message(
    state: DiscordState, record: InteractionRecord, callback: int, data: Payload, uploads: tuple[Upload, ...]
) -> None:
    body = read_message(data, uploads, ("data",))
    if callback == DEFERRED_ANSWER:
        body = MessageBody(flags=LOADING | body.flags & EPHEMERAL)
    kind = COMMAND_ANSWER if record.message is None else REPLY
    about = _about(record, None)
    record.original = posting.post(
        state, record.channel, state.guild.bot, body, interaction=about, only_for=record.person, kind=kind
    )
    record.messages.append(record.original)


def _about(record: InteractionRecord, original_id: int | None) -> Payload:
    about = {"id": str(record.id), "type": record.kind, "user": record.person.payload()}
    about["authorizing_integration_owners"] = {}
    if original_id is not None:
        about["original_response_message_id"] = str(original_id)
    if record.message is not None:
        about["interacted_message_id"] = str(record.message.id)
    return {"interaction_metadata": about}


def _response(state: DiscordState, record: InteractionRecord) -> Payload:
    interaction: Payload = {"id": str(record.id), "type": record.kind}
    response: Payload = {"interaction": interaction}
    if record.original is not None:
        interaction["response_message_id"] = str(record.original.id)
        interaction["response_message_loading"] = bool(record.original.flags & LOADING)
        interaction["response_message_ephemeral"] = record.original.is_ephemeral
        response["resource"] = {"type": record.callback, "message": record.original.payload(state.guild)}
    return response


def _object(value: object) -> Payload:
    return value if isinstance(value, dict) else {}
