"""Converts texts to Slack's markdown (mrkdwn), in a form that is safe in Mattermost's too.

Slack cannot escape a mark, and Mattermost also reads `@name` in plain text. A character that could format, mention or
link is therefore replaced by one that looks like it, or followed by a zero-width space.
"""

from __future__ import annotations

import re

from services.notifier.texts.markdown import runs_of
from services.notifier.texts.message import ZERO_WIDTH_SPACE

_LOOKALIKES = str.maketrans(
    {
        "&": "&amp;",
        "<": "&lt;",
        ">": "&gt;",
        "*": "\N{ASTERISK OPERATOR}",
        "_": "\N{FULLWIDTH LOW LINE}",
        "~": "\N{TILDE OPERATOR}",
        "`": "\N{MODIFIER LETTER GRAVE ACCENT}",
        "[": "\N{FULLWIDTH LEFT SQUARE BRACKET}",
        "]": "\N{FULLWIDTH RIGHT SQUARE BRACKET}",
        "#": "\N{FULLWIDTH NUMBER SIGN}",
        "|": "\N{FULLWIDTH VERTICAL LINE}",
    }
)
# A mention; an emoji's name; a link; a quotation at the beginning of a line.
_BREAK_AFTER = re.compile(rf"@(?!{ZERO_WIDTH_SPACE})|:(?=[\w+-]+:)|:(?=//)|(?<=[Ww]{{3}})\.|^(?=&gt;)", re.MULTILINE)


def mrkdwn_of(text: str) -> str:
    """A text in Discord's markdown as mrkdwn. Only `**bold**` is a format."""
    return "".join(_bold(_literal(run.text)) if run.is_bold else _literal(run.text) for run in runs_of(text))


def _literal(text: str) -> str:
    return _BREAK_AFTER.sub(lambda match: match.group() + ZERO_WIDTH_SPACE, text.translate(_LOOKALIKES))


def _bold(text: str) -> str:
    """Slack ends a format at the end of a line and ignores it next to a space."""
    return "\n".join(f"*{line}*" if line and line == line.strip() else line for line in text.split("\n"))
