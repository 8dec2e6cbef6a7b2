"""Reads the code in the documents: blocks with a language, and calls of `headrace` with their options."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from tests.documents.command_reference import options

ROOT = Path(__file__).parents[2]
DOCUMENTS = [
    *sorted(ROOT.glob("*.md")),
    *sorted((ROOT / "docs").rglob("*.md")),
    ROOT / "tests" / "README.md",
    ROOT / "deploy" / "helm" / "headrace" / "README.md",
]
_BLOCK = re.compile(
    r"^(?P<indent> *)```(?P<language>\w+)[^\n]*\n(?P<code>.*?)^(?P=indent)```$", re.MULTILINE | re.DOTALL
)
# A call begins a line or a span of code, or follows a shell's operator or `--`. It ends with the command.
_CALL = re.compile(
    r"(?:^ *(?:\$ )?|(?<!`)`|\$\(|[|;&] +| -- )(?:\.venv/bin/)?headrace (?P<arguments>[^`|;&)\n]*)", re.MULTILINE
)
_WORD = re.compile(r"[a-z][a-z-]*")


class Block(NamedTuple):
    document: str
    language: str
    code: str


def blocks(document: Path) -> Iterator[Block]:
    """The fenced blocks of a document that name a language."""
    for match in _BLOCK.finditer(document.read_text(encoding="utf-8")):
        code = re.sub(rf"^{match['indent']}", "", match["code"], flags=re.MULTILINE)
        yield Block(document.relative_to(ROOT).as_posix(), match["language"], code)


def calls(text: str) -> Iterator[str]:
    """The arguments of each call of `headrace` in a text; a line that ends in a backslash continues.

    A comment begins with ` #` or, in a list of commands, after several spaces.
    """
    for match in _CALL.finditer(re.sub(r"\\\n *", "", text)):
        arguments = re.sub(r"\"[^\"]*\"|'[^']*'", "TEXT", match["arguments"])
        yield re.split(r" {2,}| #", arguments)[0].strip()


def problem_of(arguments: str, commands: Mapping[str, Any]) -> str | None:
    """The first unknown command or option in the arguments of a call; None if all exist."""
    name, words = "headrace", arguments.split()
    while words and f"{name} {words[0]}" in commands:
        name = f"{name} {words.pop(0)}"
    command = commands[name]
    if words and getattr(command, "commands", None) and _WORD.fullmatch(words[0]):
        return f"{name} {words[0]}"
    if name == "headrace simulate":  # its options are the simulator's
        return None
    # A group may have a default command: `headrace pack 2026-01 --to DIR`.
    inner = getattr(command, "commands", {}).values() if words and not words[0].startswith("-") else ()
    known = options(command).union(*map(options, inner))
    used = [word.partition("=")[0] for word in words if re.match(r"--?[a-z]", word)]
    return next((f"{name} {option}" for option in used if option not in known), None)
