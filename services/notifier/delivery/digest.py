"""Joins the texts of several notifications into one message."""

from __future__ import annotations

from collections.abc import Sequence

from services.notifier.texts.message import utf16_length


def digest_text(texts: Sequence[str], max_length: int) -> str:
    """The texts as one: whole if they fit into `max_length` UTF-16 units, or else their first lines."""
    if len(texts) == 1:
        return texts[0]
    whole = _joined(texts, "\n\n")
    return whole if utf16_length(whole) <= max_length else _joined([first_line(text) for text in texts], "\n")


def count_fitting(texts: Sequence[str], max_length: int) -> int:
    """How many of the texts, from the first and at least one, fit into one digest."""
    counts = range(len(texts), 1, -1)
    return next((n for n in counts if utf16_length(digest_text(texts[:n], max_length)) <= max_length), 1)


def first_line(text: str) -> str:
    return text.partition("\n")[0]


def _joined(parts: Sequence[str], separator: str) -> str:
    return separator.join([f"**{len(parts)} notifications**", *parts])
