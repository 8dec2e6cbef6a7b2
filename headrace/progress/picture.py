"""Draws one frame of the live view as an SVG file, for documents."""

from __future__ import annotations

import io
import re
from html import escape, unescape
from itertools import groupby

from rich.cells import cell_len
from rich.console import Console

from headrace.progress.frame import Frame
from headrace.progress.screen.layout import screen

# Rich measures a text in characters, but a name in kana takes two cells for each: it would be squeezed into half its
# width. And a browser spreads a text evenly over its length, so wide and narrow characters need texts of their own.
_TEXT = re.compile(r'(<text [^>]*?x=")([\d.]+)("[^>]*? textLength=")([\d.]+)("[^>]*>)([^<]*)(</text>)')


def svg_of(frame: Frame, width: int, height: int, title: str) -> str:
    """`width` and `height` in cells."""
    console = Console(
        width=width, height=height, record=True, file=io.StringIO(), force_terminal=True, color_system="truecolor"
    )
    console.print(screen(frame, width, height))
    return _TEXT.sub(_in_cells, console.export_svg(title=title))


def _in_cells(match: re.Match[str]) -> str:
    """One text for each run of characters of the same width."""
    before, x, middle, length, after, content, end = match.groups()
    text = unescape(content)
    cell = float(length) / len(text) if text else 0.0
    at, texts = float(x), []
    for wide, characters in groupby(text, key=lambda character: cell_len(character) == 2):
        run = "".join(characters)
        size = cell * len(run) * (2 if wide else 1)
        texts.append(f"{before}{at:g}{middle}{size:g}{after}{escape(run)}{end}")
        at += size
    return "".join(texts)
