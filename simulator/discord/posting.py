"""Creates, edits, deletes and pins messages."""

from __future__ import annotations

from dataclasses import replace

from simulator.discord.errors import (
    EMPTY_MESSAGE,
    NOT_IN_DIRECT_MESSAGES,
    NOT_THE_AUTHOR,
    THREAD_EXISTS,
    TOO_MANY_PINS,
    ApiError,
    FormErrors,
    Payload,
)
from simulator.discord.guild import DIRECT, THREAD, ChatChannel, ChatUser
from simulator.discord.mentions import resolve
from simulator.discord.message_rules import EPHEMERAL, LOADING, NEW_COMPONENTS, SILENT, SUPPRESS_EMBEDS, MessageBody
from simulator.discord.messages import DEFAULT, PIN_NOTICE, REPLY, PostedMessage, StoredFile
from simulator.discord.state import DiscordState

MOST_PINS = 50
# The flags that a request may set.
SETTABLE_FLAGS = SUPPRESS_EMBEDS | EPHEMERAL | SILENT | NEW_COMPONENTS


def post(
    state: DiscordState,
    channel: ChatChannel,
    author: ChatUser,
    body: MessageBody,
    *,
    webhook: tuple[int, str] | None = None,
    interaction: Payload | None = None,
    only_for: ChatUser | None = None,
    kind: int = DEFAULT,
) -> PostedMessage:
    """Create a message; with `enforces_nonce` a recent one with the same nonce is returned instead. Raises ApiError."""
    repeated = _repeated(state, author, body)
    if repeated is not None:
        return repeated
    if body.is_empty and not body.flags & LOADING:
        raise ApiError(EMPTY_MESSAGE)
    if body.replies_to is not None:
        state.message(channel, body.replies_to)
        kind = REPLY
    message = PostedMessage(
        id=state.next_id(),
        channel=channel,
        author=author,
        kind=kind,
        content=body.content or "",
        embeds=body.embeds or [],
        components=_numbered(body.components or []),
        flags=body.flags & (SETTABLE_FLAGS | LOADING if only_for or interaction else SETTABLE_FLAGS & ~EPHEMERAL),
        mentions=resolve(body.content or "", body.allowed_mentions, state.guild, author),
        nonce=body.nonce,
        reference_id=body.replies_to,
        webhook=webhook,
        interaction=interaction,
        only_for=only_for if body.flags & EPHEMERAL else None,
    )
    message.files = _stored(state, channel, body)
    state.messages[message.id] = message
    if body.nonce is not None:
        state.nonces[author.id, body.nonce] = (state.clock(), message)
    channel.message_count += 1
    if not message.is_ephemeral:
        channel.last_message_id = message.id
        channel.is_archived = False
    _announce(state, "MESSAGE_CREATE", message)
    return message


def edit(state: DiscordState, message: PostedMessage, body: MessageBody, editor: ChatUser) -> PostedMessage:
    """Change the fields that the body has. An edit notifies no one. Raises ApiError.

    The first content of a deferred answer does not count as an edit.
    """
    if message.author.id != editor.id:
        raise ApiError(NOT_THE_AUTHOR)
    files = [each for each in message.files if body.attachments is None or each.id in body.attachments]
    changed = replace(
        message,
        content=message.content if body.content is None else body.content,
        embeds=message.embeds if body.embeds is None else body.embeds,
        components=message.components if body.components is None else _numbered(body.components),
        files=[*files, *_stored(state, message.channel, body)],
    )
    if not (changed.content or changed.embeds or changed.components or changed.files):
        raise ApiError(EMPTY_MESSAGE)
    if not message.flags & LOADING:
        message.history.append(message.payload(state.guild))
        message.edited_at = state.clock()
    message.content, message.embeds, message.components = changed.content, changed.embeds, changed.components
    message.files = changed.files
    settable = SUPPRESS_EMBEDS | NEW_COMPONENTS
    message.flags = message.flags & ~LOADING | body.flags & settable
    _announce(state, "MESSAGE_UPDATE", message)
    return message


def delete(state: DiscordState, message: PostedMessage) -> None:
    del state.messages[message.id]
    state.deleted.append(message)
    data = {"id": str(message.id), "channel_id": str(message.channel.id), "guild_id": str(state.guild.id)}
    state.emit("MESSAGE_DELETE", data, message.channel, message.only_for)


def pin(state: DiscordState, message: PostedMessage, author: ChatUser) -> None:
    """Pin a message, which posts a notice in its channel. Raises ApiError."""
    if message.pinned_at is not None:
        return
    if len(pins(state, message.channel)) >= MOST_PINS:
        raise ApiError(TOO_MANY_PINS)
    message.pinned_at = state.clock()
    _announce(state, "MESSAGE_UPDATE", message)
    _announce_pins(state, message.channel)
    notice = PostedMessage(state.next_id(), message.channel, author, PIN_NOTICE, reference_id=message.id)
    state.messages[notice.id] = notice
    _announce(state, "MESSAGE_CREATE", notice)


def unpin(state: DiscordState, message: PostedMessage) -> None:
    if message.pinned_at is not None:
        message.pinned_at = None
        _announce(state, "MESSAGE_UPDATE", message)
        _announce_pins(state, message.channel)


def pins(state: DiscordState, channel: ChatChannel) -> list[PostedMessage]:
    """Newest first."""
    pinned = [each for each in state.messages_in(channel) if each.pinned_at is not None]
    return sorted(pinned, key=lambda each: each.pinned_at or 0, reverse=True)


def start_thread(
    state: DiscordState, channel: ChatChannel, message: PostedMessage | None, payload: Payload, owner: ChatUser
) -> ChatChannel:
    """A thread of a message, which then has the message's id, or of a channel. Raises ApiError."""
    form = FormErrors()
    name = form.text(payload.get("name"), ("name",), 100, 1)
    minutes = payload.get("auto_archive_duration") or 1440
    form.choice(minutes, ("auto_archive_duration",), (60, 1440, 4320, 10080))
    form.raise_if_any()
    if channel.kind in {DIRECT, THREAD}:
        raise ApiError(NOT_IN_DIRECT_MESSAGES)
    if message is not None and message.id in state.guild.channels:
        raise ApiError(THREAD_EXISTS)
    thread = ChatChannel(
        id=state.next_id() if message is None else message.id,
        name=name,
        kind=THREAD,
        parent_id=channel.id,
        owner_id=owner.id,
        archive_minutes=minutes,
    )
    state.guild.channels[thread.id] = thread
    state.emit("THREAD_CREATE", thread.payload(state.guild.id) | {"newly_created": True}, thread)
    if message is not None:
        message.thread = thread
        _announce(state, "MESSAGE_UPDATE", message)
    return thread


def page_of(messages: list[PostedMessage], query: dict[str, str]) -> list[PostedMessage]:
    """The newest messages first, at most `limit`, before, after or around an id. Raises ApiError."""
    form = FormErrors()
    limit_text = query.get("limit", "50")
    limit = form.integer(int(limit_text) if limit_text.isdecimal() else limit_text, ("limit",), 1, 100)
    bounds = {each: form.snowflake(query[each], (each,)) for each in ("before", "after", "around") if each in query}
    form.raise_if_any()
    if "around" in bounds:
        nearest = sorted(messages, key=lambda each: abs(each.id - bounds["around"]))[:limit]
        return sorted(nearest, key=lambda each: -each.id)
    if "after" in bounds:
        return [each for each in messages if each.id > bounds["after"]][:limit][::-1]
    return [each for each in messages if each.id < bounds.get("before", 2**63)][-limit:][::-1]


def _repeated(state: DiscordState, author: ChatUser, body: MessageBody) -> PostedMessage | None:
    if body.nonce is None or not body.enforces_nonce:
        return None
    at, message = state.nonces.get((author.id, body.nonce), (0.0, None))
    return message if message is not None and state.clock() - at <= state.nonce_s else None


def _stored(state: DiscordState, channel: ChatChannel, body: MessageBody) -> list[StoredFile]:
    descriptions = dict(body.descriptions)
    return [
        StoredFile(state.next_id(), channel.id, each, descriptions.get(each.number), state.base_url)
        for each in body.uploads
    ]


def _numbered(components: list[Payload], first: int = 1) -> list[Payload]:
    """Components with the numbers that Discord gives to those without one."""
    numbered = []
    for component in components:
        item = {"id": first, **component}
        first += 1
        if isinstance(component.get("components"), list):
            item["components"] = _numbered(component["components"], first)
            first += len(component["components"])
        numbered.append(item)
    return numbered


def _announce(state: DiscordState, name: str, message: PostedMessage) -> None:
    data = message.payload(state.guild)
    if message.channel.kind != DIRECT:
        data |= {"guild_id": str(state.guild.id)}
        data["member"] = {key: value for key, value in message.author.member_payload().items() if key != "user"}
    state.emit(name, data, message.channel, message.only_for)


def _announce_pins(state: DiscordState, channel: ChatChannel) -> None:
    data = {"channel_id": str(channel.id), "guild_id": str(state.guild.id), "last_pin_timestamp": None}
    state.emit("CHANNEL_PINS_UPDATE", data, channel)
