"""Collects the texts that a person may see from the source code: errors and log events.

test_messages.py writes docs/messages.md with it.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from tests.architecture.tree import read_tree

ROOT = Path(__file__).parents[2]
LOG_LEVELS = {"debug", "info", "warning", "error", "exception", "critical"}
LOGGERS = {"log", "_log", "logger"}
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
