"""A request to the API after its body was read, and its response."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from simulator.discord.errors import INVALID_FORM_BODY, ApiError, FormErrors, Payload
from simulator.discord.guild import ChatChannel
from simulator.discord.message_rules import MessageBody, Upload, read_message
from simulator.discord.state import DiscordState


@dataclass(frozen=True)
class ApiReply:
    """The body of a response; None is the status 204."""

    body: object
    status: int = 200


@dataclass(frozen=True)
class ApiCall:
    """`parameters`: the named parts of the path. `content`: the decoded JSON of the body, None without a body."""

    state: DiscordState
    parameters: dict[str, str] = field(default_factory=dict)
    query: dict[str, str] = field(default_factory=dict)
    content: object = None
    uploads: tuple[Upload, ...] = ()

    def id_of(self, name: str) -> int:
        """A part of the path that is an id. Raises ApiError."""
        form = FormErrors()
        number = form.snowflake(self.parameters[name], (f"{name}_id",))
        form.raise_if_any()
        return number

    @property
    def payload(self) -> Payload:
        """The body, which must be a JSON object. Raises ApiError."""
        if self.content is None:
            return {}
        if not isinstance(self.content, dict):
            message = "Only dictionaries may be used in a ModelType"
            errors = {"_errors": [{"code": "MODEL_TYPE_CONVERT", "message": message}]}
            raise ApiError((400, INVALID_FORM_BODY, "Invalid Form Body"), errors)
        return self.content

    def message_body(self) -> MessageBody:
        return read_message(self.payload, self.uploads)

    def channel(self, *permissions: str) -> ChatChannel:
        return self.state.channel(self.id_of("channel"), *permissions)


RouteHandler = Callable[[ApiCall], ApiReply]
NO_CONTENT = ApiReply(None, 204)
