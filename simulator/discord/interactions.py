"""The interactions: what a person did, how the bot answered, and for how long it still may."""

from __future__ import annotations

import base64
import hashlib
from dataclasses import dataclass, field

from simulator.discord.errors import (
    ALREADY_ANSWERED,
    INVALID_WEBHOOK_TOKEN,
    UNKNOWN_INTERACTION,
    UNKNOWN_WEBHOOK,
    ApiError,
    FormErrors,
    Payload,
)
from simulator.discord.guild import ChatChannel, ChatUser
from simulator.discord.messages import PostedMessage

COMMAND, COMPONENT, AUTOCOMPLETE, DIALOG = 2, 3, 4, 5
ANSWER, DEFERRED_ANSWER, DEFERRED_EDIT, EDIT, CHOICES, OPEN_DIALOG = 4, 5, 6, 7, 8, 9
# What each kind of interaction may be answered with.
CALLBACKS = {
    COMMAND: (ANSWER, DEFERRED_ANSWER, OPEN_DIALOG),
    COMPONENT: (ANSWER, DEFERRED_ANSWER, DEFERRED_EDIT, EDIT, OPEN_DIALOG),
    AUTOCOMPLETE: (CHOICES,),
    DIALOG: (ANSWER, DEFERRED_ANSWER, DEFERRED_EDIT, EDIT),
}
# Discord's limits: for the first answer, and for everything after it.
FIRST_ANSWER_S = 3.0
TOKEN_S = 15 * 60.0


@dataclass
class InteractionRecord:
    """`message`: the one whose component was used. `original`: the answer, or that message after an edit.

    `answered_at`: when the first answer came; `callback`: its kind. Times are Unix times in seconds.
    """

    id: int
    token: str
    kind: int
    person: ChatUser
    channel: ChatChannel
    data: Payload
    created_at: float
    message: PostedMessage | None = None
    answered_at: float | None = None
    callback: int | None = None
    late_answers: int = 0
    original: PostedMessage | None = None
    messages: list[PostedMessage] = field(default_factory=list)
    choices: list[Payload] | None = None
    dialog: Payload | None = None


class Interactions:
    """All interactions by id and by token. `first_answer_s` is Discord's 3 s unless a test needs another limit."""

    def __init__(self, first_answer_s: float = FIRST_ANSWER_S) -> None:
        self.first_answer_s = first_answer_s
        self._by_id: dict[int, InteractionRecord] = {}
        self._by_token: dict[str, InteractionRecord] = {}

    def add(self, record: InteractionRecord) -> None:
        self._by_id[record.id] = record
        self._by_token[record.token] = record

    def records(self) -> list[InteractionRecord]:
        return list(self._by_id.values())

    def get(self, interaction_id: int) -> InteractionRecord:
        return self._by_id[interaction_id]

    def answerable(self, interaction_id: int, token: str, callback: object, now_s: float) -> InteractionRecord:
        """The interaction, if it may be answered in this way now. Raises ApiError."""
        record = self._by_id.get(interaction_id)
        if record is None or record.token != token:
            raise ApiError(UNKNOWN_INTERACTION)
        if record.answered_at is not None:
            raise ApiError(ALREADY_ANSWERED)
        if now_s - record.created_at > self.first_answer_s:
            record.late_answers += 1
            raise ApiError(UNKNOWN_INTERACTION)
        form = FormErrors()
        form.choice(callback, ("type",), CALLBACKS[record.kind])
        form.raise_if_any()
        return record

    def of_token(self, token: str, now_s: float) -> InteractionRecord:
        """The answered interaction of a token that is still valid. Raises ApiError."""
        record = self._by_token.get(token)
        if record is None or now_s - record.created_at > TOKEN_S:
            raise ApiError(INVALID_WEBHOOK_TOKEN)
        if record.answered_at is None or record.callback == CHOICES:
            raise ApiError(UNKNOWN_WEBHOOK)
        return record


def token_of(interaction_id: int, secret: str) -> str:
    """A token in Discord's form that cannot be guessed without the bot's token."""
    digest = hashlib.sha512(f"{interaction_id}:{secret}".encode()).hexdigest()
    return base64.urlsafe_b64encode(f"interaction:{interaction_id}:{digest}".encode()).decode().rstrip("=")
