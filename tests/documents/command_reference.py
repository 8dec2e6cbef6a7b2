"""Reads the commands of `headrace` from its Typer app, and writes them as Markdown.

test_commands.py writes docs/commands.md with it.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Iterator
from typing import Any

import typer.main

from headrace.cli import build_app


def commands() -> Iterator[tuple[str, Any]]:
    """Each command of `headrace` with its full name. Untyped: some versions of Typer carry a copy of click."""
    yield from _commands("headrace", typer.main.get_command(build_app()))


def options(command: Any) -> set[str]:
    """The options of a command, such as `--output` and `-o`."""
    names = {name for each in command.params for name in (*each.opts, *each.secondary_opts) if name.startswith("-")}
    return names | {"--help"}


def reference() -> str:
    """A section for each command: its help, its usage, its arguments and options."""
    return "\n\n".join(part for name, command in commands() for part in _section(name, command))


def _commands(name: str, command: Any) -> Iterator[tuple[str, Any]]:
    yield name, command
    for word, inner in getattr(command, "commands", {}).items():
        yield from _commands(f"{name} {word}", inner)


def _section(name: str, command: Any) -> list[str]:
    parameters = [each for each in command.params if not each.hidden]
    arguments = [_name(each) for each in parameters if not _is_option(each)]
    inner = getattr(command, "commands", None)
    usage = [name, *arguments, "[OPTIONS]", *(["COMMAND"] if inner else [])]
    parts = [f"## {name}", *map(_prose, (command.help or "").split("\n\n")), f"    {' '.join(usage)}"]
    if inner:
        parts.append("Commands: " + ", ".join(f"[{word}](#{name.replace(' ', '-')}-{word})" for word in inner))
    if parameters:
        rows = [f"| `{_name(each, with_value=True)}` | {_meaning(each)} |" for each in parameters]
        parts.append("\n".join(["| argument or option | |", "| --- | --- |", *rows]))
    return [part for part in parts if part]


def _name(parameter: Any, with_value: bool = False) -> str:
    """`SERVICE` or `--from`; with the value of an option: `--from ISO`."""
    if not _is_option(parameter):
        name = parameter.metavar or parameter.name.upper()
        optional = "" if parameter.required or name.startswith("[") else "[]"
        return f"[{name}]" if optional else str(name)
    # With the short form last.
    names = ", ".join(sorted((*parameter.opts, *parameter.secondary_opts), key=len, reverse=True))
    value = "" if parameter.is_flag else (parameter.metavar or _choices(parameter))
    return f"{names} {value}".replace("|", "\\|").strip() if with_value else names


def _meaning(parameter: Any) -> str:
    parts = [getattr(parameter, "help", None) or ""]
    default = parameter.default.value if isinstance(parameter.default, enum.Enum) else parameter.default
    if isinstance(default, str | int | float) and not isinstance(default, bool) and "[default" not in parts[0]:
        parts.append(f"[default: {default}]")
    if variable := getattr(parameter, "envvar", None):
        parts.append(f"[environment variable: {variable}]")
    return _prose(" ".join(parts)).replace("|", "\\|")


def _choices(parameter: Any) -> str:
    """The values of an enumeration, or N for a number, or VALUE."""
    if isinstance(parameter.default, enum.Enum):
        return "|".join(str(each.value) for each in type(parameter.default))
    return "N" if isinstance(parameter.default, int | float) else "VALUE"


def _is_option(parameter: Any) -> bool:
    return bool(parameter.opts[0].startswith("-"))


def _prose(text: str) -> str:
    """One line, with Markdown's special characters escaped except in code."""
    parts = re.split(r"(`[^`]*`)", " ".join(text.split()))
    return "".join(part if part.startswith("`") else re.sub(r"([*_<>\[\]])", r"\\\1", part) for part in parts)
