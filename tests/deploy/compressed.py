"""Compresses the time of rules: every duration is divided by 60, so that a second stands for a minute."""

from __future__ import annotations

import re

FACTOR = 60
UNITS_S = {"s": 1, "m": 60, "h": 3600}
_DURATION = re.compile(r"(?P<before>\[|for: |interval: )(?P<number>\d+)(?P<unit>[smh])\b")
# Of an expression: hours are written as a number times 3600. No other threshold is as large as 60.
_THRESHOLD = re.compile(r"(?P<before>> |> \d+ \* )(?P<seconds>\d{2,})(?!\d|\.| \*)")


def compressed(text: str) -> str:
    """The rules with a 60th of each `for`, `interval`, range (a second at least) and threshold in seconds."""

    def shorter(match: re.Match[str]) -> str:
        seconds = int(match["number"]) * UNITS_S[match["unit"]] / FACTOR
        return f"{match['before']}{max(1, round(seconds))}s"

    text = _DURATION.sub(shorter, text)
    return _THRESHOLD.sub(lambda match: f"{match['before']}{int(match['seconds']) / FACTOR:g}", text)
