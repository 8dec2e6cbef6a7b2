"""Reads docs/tutorial.md: the commands of its two terminals and the outputs that it shows.

A command follows `$ ` in a block of `console`. The lines below it are its output, where `...` is any number of lines. A
block of `console second` belongs to the second terminal, where `^C` stops the running command.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

TUTORIAL = Path(__file__).parents[2] / "docs" / "tutorial.md"
INTERRUPT = "^C"
GAP = "..."
_BLOCK = re.compile(r"^```console(?P<second> second)?\n(?P<body>.*?)^```$", re.MULTILINE | re.DOTALL)


class Step(NamedTuple):
    command: str
    output: tuple[str, ...]
    in_second_terminal: bool


def steps(text: str) -> Iterator[Step]:
    """All commands of the document, in their order."""
    for block in _BLOCK.finditer(text):
        command, output = "", list[str]()
        for line in [*block["body"].splitlines(), ""]:
            if line.startswith("$ ") or line in {INTERRUPT, ""}:
                if command:
                    yield Step(command, tuple(output), block["second"] is not None)
                command, output = line.removeprefix("$ "), []
            else:
                output.append(line)


def shape(line: str) -> str:
    """A line without what differs from run to run: numbers, hashes, widths of columns."""
    line = re.sub(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", "#", line)
    line = re.sub(r"\b\d{8}-[0-9a-f]{8}\b", "#", line)
    line = re.sub(r"[\d.,:]*\d", "#", line)
    return re.sub(r"\s+", " ", re.sub(r"-{2,}", "--", line)).strip()


def shows(expected: Sequence[str], actual: Sequence[str]) -> bool:
    """Whether the actual output has the expected lines, in shape and order; gaps may stand for any lines."""
    if not expected:
        return not actual
    first, rest = expected[0], expected[1:]
    if first == GAP:
        return any(shows(rest, actual[start:]) for start in range(len(actual) + 1))
    return bool(actual) and shape(first) == shape(actual[0]) and shows(rest, actual[1:])
