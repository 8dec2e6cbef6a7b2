"""Converts texts in Discord's markdown to the two parts of a mail, plain text and HTML.

The zero-width spaces that break up links and mentions in untrusted names stay: mail programs make links of plain text.
"""

from __future__ import annotations

from html import escape

from services.notifier.texts.markdown import runs_of
from services.notifier.texts.message import plain_text

MAX_SUBJECT_LENGTH = 150


def subject_of(text: str) -> str:
    """The first line as one line of printable characters."""
    return plain_text(text.partition("\n")[0])[:MAX_SUBJECT_LENGTH]


def plain_part(text: str) -> str:
    return "".join(run.text for run in runs_of(text)) + "\n"


def html_part(text: str) -> str:
    pieces = (f"<strong>{_html(run.text)}</strong>" if run.is_bold else _html(run.text) for run in runs_of(text))
    return f'<!doctype html>\n<html><body><p style="font-family: sans-serif">{"".join(pieces)}</p></body></html>\n'


def _html(text: str) -> str:
    return escape(text).replace("\n", "<br>\n")
