"""What the bot shows, and its form in Discord's API, cut to Discord's limits.

Texts that come from outside (names, errors) are escaped where an embed is made, with `texts.message.escape`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from services.notifier.texts.content import Colour
from services.notifier.texts.message import utf16_length

# Distinguishable with red-green colour blindness (Okabe and Ito 2008). A word always says the same.
COLOURS: Mapping[str, int] = {
    "information": 0x0072B2,
    "good": 0x009E73,
    "warning": 0xE69F00,
    "critical": 0xD55E00,
    "muted": 0x777777,
}
ButtonStyle = Literal["primary", "secondary", "success", "danger"]
_STYLES: Mapping[str, int] = {"primary": 1, "secondary": 2, "success": 3, "danger": 4}

# https://discord.com/developers/docs/resources/message#embed-object-embed-limits
MAX_TITLE, MAX_DESCRIPTION, MAX_FIELDS, MAX_FIELD_NAME, MAX_FIELD_VALUE, MAX_FOOTER = 256, 4096, 25, 256, 1024, 2048
MAX_EMBED_CHARS, MAX_EMBEDS = 6000, 10
MAX_ROW_BUTTONS, MAX_ROWS, MAX_LABEL = 5, 5, 80
MAX_CHOICES, MAX_CHOICE = 25, 100
ELLIPSIS = "…"
# Discord refuses empty names and values of fields.
EMPTY = "\u200b"


@dataclass(frozen=True)
class EmbedField:
    name: str
    value: str
    inline: bool = True


@dataclass(frozen=True)
class Embed:
    """`picture` names one of the answer's files, which is shown inside."""

    title: str = ""
    description: str = ""
    fields: tuple[EmbedField, ...] = ()
    colour: Colour = "information"
    footer: str = ""
    picture: str | None = None


@dataclass(frozen=True)
class Button:
    label: str
    custom_id: str
    style: ButtonStyle = "secondary"
    disabled: bool = False


@dataclass(frozen=True)
class AttachedFile:
    name: str
    content: bytes


@dataclass(frozen=True)
class Answer:
    embeds: tuple[Embed, ...]
    buttons: tuple[Button, ...] = ()
    files: tuple[AttachedFile, ...] = ()


def note(text: str, colour: Colour = "information", title: str = "") -> Answer:
    """An answer with one text."""
    return Answer((Embed(title, text, colour=colour),))


def payload_of(answer: Answer) -> dict[str, Any]:
    """The body of a message. It never mentions (pings) anybody."""
    return {
        "content": "",
        "embeds": [_embed_payload(embed) for embed in fit(answer.embeds)],
        "components": _component_rows(answer.buttons),
        "allowed_mentions": {"parse": []},
    }


def choices_of(values: Iterable[tuple[str, str]]) -> list[dict[str, str]]:
    """The choices of a completion, from (label, value). Values that are too long to be sent back are left out."""
    choices = [{"name": cut(label, MAX_CHOICE), "value": value} for label, value in values if len(value) <= MAX_CHOICE]
    return choices[:MAX_CHOICES]


def fit(embeds: Sequence[Embed]) -> list[Embed]:
    """The embeds within all limits. Texts are cut at the end; what is beyond the limit of a message is left out."""
    fitted, remaining = [], MAX_EMBED_CHARS
    for embed in embeds[:MAX_EMBEDS]:
        shorter = _cut_embed(embed, remaining)
        used = _length(shorter)
        if used > remaining:
            break
        remaining -= used
        fitted.append(shorter)
    return fitted


def cut(text: str, limit: int) -> str:
    """The text with at most `limit` UTF-16 code units, the stricter of the two ways to count."""
    if utf16_length(text) <= limit:
        return text
    shorter = text.encode("utf-16-le", "surrogatepass")[: 2 * (limit - 1)].decode("utf-16-le", "ignore")
    return shorter.removesuffix("\\") + ELLIPSIS


def cut_lines(lines: Iterable[str], limit: int) -> str:
    """As many whole lines as fit; the last one says how many are left out."""
    every = list(lines)
    text = "\n".join(every)
    if utf16_length(text) <= limit:
        return text
    for count in range(len(every) - 1, -1, -1):
        shorter = "\n".join([*every[:count], f"{ELLIPSIS} and {len(every) - count} more"])
        if utf16_length(shorter) <= limit:
            return shorter
    return cut(text, limit)


def _cut_embed(embed: Embed, remaining: int) -> Embed:
    title, footer = cut(embed.title, MAX_TITLE), cut(embed.footer, MAX_FOOTER)
    room = max(1, remaining - utf16_length(title) - utf16_length(footer))
    shorter = replace(
        embed,
        title=title,
        footer=footer,
        description=cut(embed.description, min(MAX_DESCRIPTION, room)),
        fields=tuple(
            EmbedField(
                cut(field.name, MAX_FIELD_NAME) or EMPTY, cut(field.value, MAX_FIELD_VALUE) or EMPTY, field.inline
            )
            for field in embed.fields[:MAX_FIELDS]
        ),
    )
    while shorter.fields and _length(shorter) > remaining:
        shorter = replace(shorter, fields=shorter.fields[:-1])
    return shorter


def _embed_payload(embed: Embed) -> dict[str, Any]:
    payload: dict[str, Any] = {"type": "rich", "color": COLOURS[embed.colour]}
    if embed.title:
        payload["title"] = embed.title
    if embed.description:
        payload["description"] = embed.description
    if embed.fields:
        payload["fields"] = [{"name": each.name, "value": each.value, "inline": each.inline} for each in embed.fields]
    if embed.footer:
        payload["footer"] = {"text": embed.footer}
    if embed.picture:
        payload["image"] = {"url": f"attachment://{embed.picture}"}
    return payload


def _component_rows(buttons: Sequence[Button]) -> list[dict[str, Any]]:
    shown = [
        {"type": 2, "style": _STYLES[each.style], "label": cut(each.label, MAX_LABEL), "custom_id": each.custom_id,
         "disabled": each.disabled}
        for each in buttons[: MAX_ROW_BUTTONS * MAX_ROWS]
    ]  # fmt: skip
    rows = [shown[start : start + MAX_ROW_BUTTONS] for start in range(0, len(shown), MAX_ROW_BUTTONS)]
    return [{"type": 1, "components": row} for row in rows]


def _length(embed: Embed) -> int:
    fields = sum(utf16_length(each.name) + utf16_length(each.value) for each in embed.fields)
    return utf16_length(embed.title) + utf16_length(embed.description) + utf16_length(embed.footer) + fields
