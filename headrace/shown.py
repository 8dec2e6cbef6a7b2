"""Makes foreign text harmless for a terminal: names, errors and dates come from documents of strangers."""

from __future__ import annotations

from unicodedata import category


def shown(text: str) -> str:
    """The text with a space instead of each control, format, private or unassigned character (category C) and each
    line separator, except line feeds and tabs. What is left moves no cursor, sets no colour and reverses no text."""
    if text.isprintable():
        return text
    return "".join(" " if char not in "\n\t" and _is_unsafe(char) else char for char in text)


def shown_line(text: str) -> str:
    """Like `shown`, in one line."""
    return shown(text).replace("\n", " ").replace("\t", " ")


def _is_unsafe(char: str) -> bool:
    return category(char)[0] == "C" or category(char) in {"Zl", "Zp"}
