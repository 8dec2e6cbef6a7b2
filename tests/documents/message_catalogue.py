"""Collects the texts that a person may see from the source code: errors, log events and help.

test_messages.py writes docs/messages.md with it.
"""

from __future__ import annotations

import ast
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import typer.main

from headrace.cli import build_app
from tests.architecture.tree import read_tree

ROOT = Path(__file__).parents[2]
LOG_LEVELS = {"debug", "info", "warning", "error", "exception", "critical"}
LOGGERS = {"log", "_log", "logger"}
# An option of at least so many commands is listed once.
COMMON_COUNT = 8
# Exceptions for the interpreter or a caller, not for a person.
SILENT = {"AssertionError", "NotImplementedError", "StopIteration", "AttributeError", "KeyError"}


class Message(NamedTuple):
    place: str  # the module, as a path below the root
    kind: str  # an exception's name, or a log level
    text: str  # with `{name}` where a value is filled in


def modules() -> Iterator[tuple[str, ast.Module]]:
    """Path below the root and syntax of each module."""
    for module in read_tree(ROOT).values():
        yield module.path.relative_to(ROOT).as_posix(), module.syntax


def errors() -> list[Message]:
    """Each text that an exception is raised with."""
    messages = set()
    for place, tree in modules():
        for node in ast.walk(tree):
            if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call):
                kind = _name(node.exc.func)
                texts = [text for text in map(text_of, _arguments(node.exc)) if text is not None and " " in text]
                messages |= {Message(place, kind, text) for text in texts if kind not in SILENT}
    return sorted(messages)


def log_events() -> list[Message]:
    """Each text that a logger is called with."""
    messages = set()
    for place, tree in modules():
        for node in ast.walk(tree):
            if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute) or not node.args:
                continue
            text = text_of(node.args[0])
            if node.func.attr in LOG_LEVELS and _name(node.func.value) in LOGGERS and text is not None:
                messages.add(Message(place, node.func.attr, text))
    return sorted(messages)


def commands() -> Iterator[tuple[str, Any]]:
    """Each command of `headrace` with its full name. Untyped: some versions of typer carry a copy of click."""
    yield from _commands("headrace", typer.main.get_command(build_app()))


def text_of(node: ast.expr) -> str | None:
    """The text of a literal, with `{name}` for each value in it; None for anything else."""
    if isinstance(node, ast.Constant):
        return node.value if isinstance(node.value, str) else None
    if isinstance(node, ast.JoinedStr):
        return "".join(
            str(part.value) if isinstance(part, ast.Constant) else "{" + _placeholder(part) + "}"
            for part in node.values
        )
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        left, right = text_of(node.left), text_of(node.right)
        return None if left is None or right is None else left + right
    return None


def markdown(messages: list[Message]) -> str:
    """One list for each module."""
    lines = list[str]()
    place = ""
    for message in messages:
        if message.place != place:
            place = message.place
            lines += ["", f"`{place}`", ""]
        lines.append(f"* {message.kind}: {_code(message.text)}")
    return "\n".join(lines).strip()


def help_texts() -> str:
    """Commands with their options; options that many commands have in common come once, at the end."""
    texts = [(name, command, _options(command)) for name, command in commands()]
    counts = Counter(line for _, _, options in texts for line in options)
    common = {line for line, count in counts.items() if count >= COMMON_COUNT}
    lines = list[str]()
    for name, command, options in texts:
        lines += [f"**`{name}`** {_one_line(command.help or '')}", ""]
        own = [line for line in options if line not in common]
        lines += [*own, ""] if own else []
    return "\n".join([*lines, "**Options of many commands**", "", *sorted(common)]).strip()


def _options(command: Any) -> list[str]:
    return [
        f"* `{max(parameter.opts, key=len)}` {_one_line(parameter.help)}"
        for parameter in command.params
        if parameter.opts[0].startswith("-") and not parameter.hidden and getattr(parameter, "help", None)
    ]


def _commands(name: str, command: Any) -> Iterator[tuple[str, Any]]:
    yield name, command
    for word, inner in getattr(command, "commands", {}).items():
        yield from _commands(f"{name} {word}", inner)


def _arguments(call: ast.Call) -> list[ast.expr]:
    return [*call.args, *(keyword.value for keyword in call.keywords)]


def _placeholder(part: ast.expr) -> str:
    value = part.value if isinstance(part, ast.FormattedValue) else part
    names = re.findall(r"[A-Za-z_]\w*", ast.unparse(value))
    return next((name for name in reversed(names) if name not in {"self", "str", "join"}), "value")


def _name(node: ast.expr) -> str:
    return node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""


def _code(text: str) -> str:
    text = text.replace("\n", " ").strip()
    return f"`` {text} ``" if "`" in text else f"`{text}`"


def _one_line(text: str) -> str:
    """One line, with Markdown's format characters escaped."""
    return re.sub(r"([*_<>\[\]])", r"\\\1", " ".join(text.split()))
