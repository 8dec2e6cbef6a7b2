"""Reads the body of a message and applies Discord's limits to it."""

from __future__ import annotations

from dataclasses import dataclass, field

from simulator.discord.component_rules import read_components, read_layout
from simulator.discord.embed_rules import read_embeds
from simulator.discord.errors import FILE_TOO_LARGE, ApiError, FieldPath, FormErrors, Payload
from simulator.discord.mentions import AllowedMentions, read_allowed_mentions

LONGEST_CONTENT = 2000
LONGEST_NONCE = 25
MOST_FILES = 10
LARGEST_UPLOAD_BYTES = 10 * 1024 * 1024
SUPPRESS_EMBEDS, HAS_THREAD, EPHEMERAL, LOADING, SILENT, NEW_COMPONENTS = 4, 32, 64, 128, 4096, 1 << 15


@dataclass(frozen=True)
class Upload:
    """A file of a request: `number` is the one in `files[number]`."""

    number: int
    filename: str
    content_type: str
    content: bytes


@dataclass(frozen=True)
class MessageBody:
    """The fields of a request for a message. None means that the field is absent.

    `attachments`: the ids that an edit keeps. `descriptions`: of the uploads, by their number.
    """

    content: str | None = None
    embeds: list[Payload] | None = None
    components: list[Payload] | None = None
    flags: int = 0
    nonce: str | None = None
    enforces_nonce: bool = False
    allowed_mentions: AllowedMentions = field(default_factory=AllowedMentions)
    attachments: frozenset[int] | None = None
    descriptions: tuple[tuple[int, str], ...] = ()
    replies_to: int | None = None
    uploads: tuple[Upload, ...] = ()

    @property
    def is_empty(self) -> bool:
        return not (self.content or self.embeds or self.components or self.uploads)


def read_message(payload: Payload, uploads: tuple[Upload, ...], path: FieldPath = ()) -> MessageBody:
    """Raises ApiError that names every field that Discord would refuse."""
    form = FormErrors()
    if sum(len(each.content) for each in uploads) > LARGEST_UPLOAD_BYTES:
        raise ApiError(FILE_TOO_LARGE)
    if len(uploads) > MOST_FILES:
        form.add((*path, "files"), "BASE_TYPE_MAX_LENGTH", f"Must be {MOST_FILES} or fewer in length.")
    flags = form.integer(payload.get("flags") or 0, (*path, "flags"), 0, 2**31 - 1)
    is_new = bool(flags & NEW_COMPONENTS)
    content, embeds, components = (payload.get(name) for name in ("content", "embeds", "components"))
    read_rows = read_layout if is_new else read_components
    body = MessageBody(
        content=_optional_text(payload, "content", LONGEST_CONTENT, path, form),
        embeds=_list_of(payload, "embeds", read_embeds(embeds or [], (*path, "embeds"), form)),
        components=_list_of(
            payload, "components", read_rows(components, (*path, "components"), form) if components else []
        ),
        flags=flags,
        nonce=_nonce(payload.get("nonce"), (*path, "nonce"), form),
        enforces_nonce=payload.get("enforce_nonce") is True,
        allowed_mentions=read_allowed_mentions(payload.get("allowed_mentions"), (*path, "allowed_mentions"), form),
        attachments=_kept_attachments(payload, uploads, path, form),
        descriptions=_descriptions(payload, path, form),
        replies_to=_reference(payload.get("message_reference"), (*path, "message_reference"), form),
        uploads=uploads,
    )
    if is_new and (content or embeds):
        form.add((*path, "content"), "MESSAGE_CANNOT_USE_LEGACY_FIELDS_WITH_COMPONENTS_V2", "Not with this flag")
    form.raise_if_any()
    return body


def _optional_text(payload: Payload, name: str, longest: int, path: FieldPath, form: FormErrors) -> str | None:
    if name not in payload:
        return None
    value = payload[name]
    # Discord takes a number for a text.
    value = str(value) if isinstance(value, int | float) and not isinstance(value, bool) else value
    return "" if value is None else form.text(value, (*path, name), longest)


def _list_of(payload: Payload, name: str, items: list[Payload]) -> list[Payload] | None:
    return items if name in payload else None


def _nonce(value: object, path: FieldPath, form: FormErrors) -> str | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | str):
        form.add(path, "BASE_TYPE_INVALID", "Must be an integer or a string.")
        return None
    return form.text(str(value), path, LONGEST_NONCE)


def _kept_attachments(
    payload: Payload, uploads: tuple[Upload, ...], path: FieldPath, form: FormErrors
) -> frozenset[int] | None:
    if payload.get("attachments") is None:
        return None
    numbers = {each.number for each in uploads}
    items = form.objects(payload["attachments"], (*path, "attachments"), MOST_FILES)
    ids = {form.snowflake(item.get("id"), (*at, "id")) for at, item in items}
    return frozenset(ids - numbers)


def _descriptions(payload: Payload, path: FieldPath, form: FormErrors) -> tuple[tuple[int, str], ...]:
    if not isinstance(payload.get("attachments"), list):
        return ()
    items = form.objects(payload["attachments"], (*path, "attachments"), MOST_FILES)
    return tuple(
        (form.snowflake(item.get("id"), (*at, "id")), form.text(item["description"], (*at, "description"), 1024))
        for at, item in items
        if item.get("description") is not None
    )


def _reference(value: object, path: FieldPath, form: FormErrors) -> int | None:
    if value is None:
        return None
    return form.snowflake(form.mapping(value, path).get("message_id"), (*path, "message_id"))
