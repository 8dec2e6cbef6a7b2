"""Escapes names for Discord's markdown, and converts texts in this markdown to plain text.

Names come from untrusted documents. They must not mention (ping) people, create links or formatting, or contain
terminal control codes.
"""

from __future__ import annotations

import re
import unicodedata

# Discord refuses longer messages. Counted in UTF-16 code units, the stricter of the two possible ways.
MAX_LENGTH = 2_000
MAX_NAME_LENGTH = 80
ZERO_WIDTH_SPACE = "\u200b"  # zero-width space: invisible, and breaks up a mention or link
MARKDOWN = re.compile(r"([\\*_~|`<>\[\]()#])")
MENTION_OR_LINK = re.compile(r"@|(?<=:)(?=//)|(?<=[Ww]{3})(?=\.)|(?<=\.)(?=gg/)")


class RenderedText(str):
    """A text that is already in Discord's markdown, with the names in it escaped."""

    __slots__ = ()


def escape(name: str) -> str:
    """Untrusted text as one line of at most MAX_NAME_LENGTH characters, with markdown, mentions and links escaped."""
    one_line = " ".join(_printable(name.replace(ZERO_WIDTH_SPACE, "")).split())[:MAX_NAME_LENGTH]
    return MENTION_OR_LINK.sub(lambda match: match.group() + ZERO_WIDTH_SPACE, MARKDOWN.sub(r"\\\1", one_line))


def plain_text(text: str) -> str:
    """A rendered text as one line without markdown escapes and marks."""
    unmarked = re.sub(r"\\(.)|\*\*", lambda match: match.group(1) or "", text.replace(ZERO_WIDTH_SPACE, ""))
    return " · ".join(_printable(line) for line in unmarked.splitlines() if line)


def truncate(text: str) -> str:
    """Cut the text to MAX_LENGTH UTF-16 units, at the end of a line if possible."""
    while utf16_length(text) > MAX_LENGTH:
        shorter, newline, _ = text.rpartition("\n")
        if not newline:
            return text.encode("utf-16-le")[: 2 * (MAX_LENGTH - 1)].decode("utf-16-le", "ignore") + "…"
        text = shorter
    return text


def _printable(text: str) -> str:
    """Replace control and format characters (including those that change the text direction) by spaces."""
    return "".join(c if c == ZERO_WIDTH_SPACE or unicodedata.category(c)[0] != "C" else " " for c in text)


def utf16_length(text: str) -> int:
    return len(text.encode("utf-16-le", "surrogatepass")) // 2
