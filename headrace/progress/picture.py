"""Draws one frame of the live view as an SVG file, for documents."""

from __future__ import annotations

import io
import re
from html import unescape

from rich.cells import cell_len
from rich.console import Console

from headrace.progress.frame import Frame
from headrace.progress.screen.layout import screen

# Rich measures a text in characters; names in kana take two cells each, and would be squeezed into half their width.
_TEXT = re.compile(r'textLength="([\d.]+)"([^>]*)>([^<]*)</text>')


def svg_of(frame: Frame, width: int, height: int, title: str) -> str:
    """`width` and `height` in cells."""
    console = Console(
        width=width, height=height, record=True, file=io.StringIO(), force_terminal=True, color_system="truecolor"
    )
    console.print(screen(frame, width, height))
    return _TEXT.sub(_true_width, console.export_svg(title=title))


def _true_width(found: re.Match[str]) -> str:
    length, attributes, content = found.groups()
    text = unescape(content)
    if not text:
        return found.group()
    return f'textLength="{float(length) * cell_len(text) / len(text):g}"{attributes}>{content}</text>'
