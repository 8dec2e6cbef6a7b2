"""Reads the markdown of our texts: `**bold**`, and a backslash that makes the next character literal."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

_MARK = re.compile(r"\\(.)|\*\*", re.DOTALL)


class Run(NamedTuple):
    """A piece of text with one format. `text` has no marks."""

    text: str
    is_bold: bool


def runs_of(text: str) -> Iterator[Run]:
    """The pieces of a text in markdown, without empty ones."""
    piece, is_bold, end = "", False, 0
    for mark in _MARK.finditer(text):
        piece += text[end : mark.start()] + (mark.group(1) or "")
        end = mark.end()
        if mark.group(1) is None:
            if piece:
                yield Run(piece, is_bold)
            piece, is_bold = "", not is_bold
    if piece := piece + text[end:]:
        yield Run(piece, is_bold)
