"""A console that prints no control characters of the texts that it is given."""

from __future__ import annotations

from collections.abc import Iterable

from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment

from headrace.shown import shown


class ShownConsole(Console):
    """Prints every text as `shown` makes it. Rich's own colours and cursor moves are no text."""

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        for segment in super().render(renderable, options):
            yield segment if segment.control else Segment(shown(segment.text), segment.style)
