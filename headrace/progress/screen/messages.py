"""Messages as people get them: Discord's markdown as styled text, whole and wrapped."""

from __future__ import annotations

import re
from collections.abc import Sequence

from rich.console import Console, ConsoleOptions, RenderResult
from rich.text import Text

from headrace.progress.frame import SentMessage
from headrace.progress.text import printable

# What message.py of the notifier writes: bold, escapes, and a character of no width that stops mentions and links.
TOKEN = re.compile(r"\\(.)|\*\*(.+?)\*\*|\u200b")
STYLES = {"tip": "green", "surprise": "magenta", "big-payout": "yellow", "called-off": "red"}


class Messages:
    """Fills the height that it is given with whole messages, the newest first."""

    def __init__(self, messages: Sequence[SentMessage]) -> None:
        self._messages = messages

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        height = options.height or 20
        used = 0
        for message in self._messages:
            lines = list(text_of(message).wrap(console, options.max_width))
            if used and used + len(lines) > height:
                return
            yield from lines[: height - used]
            used += len(lines) + 1
            if used < height:
                yield Text("")


def text_of(message: SentMessage) -> Text:
    text = Text()
    style = STYLES.get(message.rule, "cyan")
    for index, line in enumerate(message.text.splitlines()):
        if index:
            text.append("\n")
        _append(text, line, f"bold {style}")
    return text


def _append(text: Text, line: str, bold: str) -> None:
    at = 0
    for token in TOKEN.finditer(line):
        text.append(_clean(line[at : token.start()]))
        escaped, strong = token.groups()
        if strong:
            text.append(_clean(re.sub(r"\\(.)", r"\1", strong)), style=bold)
        elif escaped:
            text.append(_clean(escaped))
        at = token.end()
    text.append(_clean(line[at:]))


def _clean(part: str) -> str:
    """Without control characters; blanks at the ends stay, because the part is in the middle of a line."""
    return " ".join(printable(word) for word in part.split(" "))
