"""Reads what a person types into the page's input: `/command subcommand option:value option:value`, or a message."""

from __future__ import annotations

import re
from dataclasses import dataclass

from simulator.discord.command_rules import (
    BOOLEAN,
    CHANNEL,
    GROUP,
    INTEGER,
    MENTIONABLE,
    NUMBER,
    ROLE,
    SUBCOMMAND,
    USER,
    OptionValue,
)
from simulator.discord.errors import Payload
from simulator.discord.guild import Guild

OPTION = re.compile(r"(?:(?<=\s)|^)([-_\w]{1,32}):")
MOST_SHOWN = 25


@dataclass(frozen=True)
class LineCompletion:
    """`line`: the whole line after this completion is chosen."""

    line: str
    label: str
    description: str = ""


@dataclass(frozen=True)
class TypedCommand:
    """`words`: the names of the command and its subcommands. `values`: the text of each option, in typed order.

    `options`: the declared ones. `prefix`: the line up to the value that is being typed; `current`: that option.
    """

    words: tuple[str, ...]
    options: tuple[Payload, ...]
    values: dict[str, str]
    prefix: str = ""
    current: Payload | None = None

    @property
    def text(self) -> str:
        return "/" + " ".join(self.words)

    @property
    def current_name(self) -> str:
        return "" if self.current is None else str(self.current["name"])


def read_line(line: str, commands: list[Payload]) -> TypedCommand | None:
    """None as long as the names of the command and its subcommands are not complete."""
    words: list[str] = []
    declared = [{**command, "type": SUBCOMMAND, "options": command.get("options") or []} for command in commands]
    rest = line.removeprefix("/")
    while not words or any(each["type"] in (SUBCOMMAND, GROUP) for each in declared):
        name, space, tail = rest.lstrip().partition(" ")
        chosen = next((each for each in declared if each["name"] == name), None)
        if chosen is None:
            return None
        words.append(name)
        rest, declared = tail if space else "", chosen.get("options") or []
    return _with_values(tuple(words), tuple(declared), line, rest)


def option_values(typed: TypedCommand, guild: Guild, keep_text: str | None = None) -> dict[str, OptionValue]:
    """The values in the types of the options; that of `keep_text`, which is being completed, stays as it was typed.

    Raises ValueError if a value has not the option's type.
    """
    kinds = {option["name"]: option["type"] for option in typed.options}
    return {
        name: text if name == keep_text else _converted(name, kinds[name], text, guild)
        for name, text in typed.values.items()
    }


def completions(line: str, commands: list[Payload], guild: Guild) -> list[LineCompletion]:
    """What can follow, without the completions that only the bot knows."""
    typed = read_line(line, commands)
    if typed is None:
        return _name_completions(line, commands)
    shown = []
    if typed.current is not None:
        shown = _value_completions(typed, guild)
        if shown:
            return shown[:MOST_SHOWN]
    fragment = "" if line.endswith(" ") else line.rpartition(" ")[2]
    start = line[: len(line) - len(fragment)]
    return [
        LineCompletion(f"{start}{option['name']}:", f"{option['name']}:", _about(option))
        for option in typed.options
        if option["name"] not in typed.values and option["name"].startswith(fragment)
    ]


def is_for_bot(typed: TypedCommand, line: str) -> bool:
    """Whether the bot completes the value that is being typed. After a space, the names of further options come."""
    is_complete = line.endswith(" ") and typed.values.get(typed.current_name, "") != ""
    return typed.current is not None and bool(typed.current.get("autocomplete")) and not is_complete


def value_completion(typed: TypedCommand, name: str, value: object) -> LineCompletion:
    """A completion of the value that is being typed."""
    text = str(value).lower() if isinstance(value, bool) else str(value)
    return LineCompletion(f"{typed.prefix}{text} ", name, "" if text in name else text)


def _with_values(words: tuple[str, ...], options: tuple[Payload, ...], line: str, rest: str) -> TypedCommand:
    names = {option["name"]: option for option in options}
    marks = [match for match in OPTION.finditer(rest) if match[1] in names]
    offset = len(line) - len(rest)
    values: dict[str, str] = {}
    leading = rest[: marks[0].start()] if marks else rest
    if leading.strip() and options and not _may_be_name(leading, line, options):
        # A value without a name is that of the first option.
        values[options[0]["name"]] = leading.strip()
        if not marks:
            start = offset + len(leading) - len(leading.lstrip())
            return TypedCommand(words, options, values, line[:start], options[0])
    ends = [*(mark.start() for mark in marks[1:]), len(rest)]
    for mark, end in zip(marks, ends, strict=False):
        values[mark[1]] = rest[mark.end() : end].strip()
    current = names[marks[-1][1]] if marks else None
    prefix = line[: offset + marks[-1].end()] if marks else ""
    return TypedCommand(words, options, values, prefix, current)


def _may_be_name(leading: str, line: str, options: tuple[Payload, ...]) -> bool:
    """Whether the text is the beginning of an option's name."""
    text = leading.strip()
    return line.endswith(text) and any(option["name"].startswith(text) for option in options)


def _name_completions(line: str, commands: list[Payload]) -> list[LineCompletion]:
    *before, fragment = line.removeprefix("/").split(" ")
    declared: list[Payload] = commands
    for name in before:
        chosen = next((each for each in declared if each["name"] == name), None)
        declared = [] if chosen is None else chosen.get("options") or []
    start = "/" + "".join(f"{name} " for name in before)
    shown = [each for each in declared if each["name"].startswith(fragment)]
    return [
        LineCompletion(f"{start}{each['name']} ", f"{start}{each['name']}", each.get("description", ""))
        for each in shown[:MOST_SHOWN]
    ]


def _value_completions(typed: TypedCommand, guild: Guild) -> list[LineCompletion]:
    option = typed.current or {}
    so_far = typed.values.get(option["name"], "").lower()
    pairs: list[tuple[str, object]] = [(each["name"], each["value"]) for each in option.get("choices") or []]
    if option["type"] == BOOLEAN:
        pairs = [("true", True), ("false", False)]
    elif option["type"] in (USER, MENTIONABLE):
        pairs = [(person.name, person.name) for person in guild.people.values()]
    elif option["type"] == CHANNEL:
        pairs = [(channel.name, channel.name) for channel in guild.channels.values() if channel.person is None]
    elif option["type"] == ROLE:
        pairs = [(role.name, role.name) for role in guild.roles.values()]
    typed_before = any(str(value).lower() == so_far or name.lower() == so_far for name, value in pairs)
    return (
        []
        if typed_before
        else [value_completion(typed, name, value) for name, value in pairs if name.lower().startswith(so_far)]
    )


def _converted(name: str, kind: int, text: str, guild: Guild) -> OptionValue:
    named: dict[str, int] = {}
    if kind in (USER, MENTIONABLE):
        named = {person.name.lower(): person.id for person in guild.people.values()}
    elif kind == CHANNEL:
        named = {channel.name.lower(): channel.id for channel in guild.channels.values()}
    elif kind == ROLE:
        named = {role.name.lower(): role.id for role in guild.roles.values()}
    if named:
        number = named.get(text.lower().lstrip("@#"))
        if number is None:
            raise ValueError(f"{name} needs one of {', '.join(sorted(named))}")
        return str(number)
    if kind == BOOLEAN:
        if text.lower() not in {"true", "false"}:
            raise ValueError(f"{name} needs true or false")
        return text.lower() == "true"
    if kind not in (INTEGER, NUMBER):
        return text
    try:
        return int(text) if kind == INTEGER else float(text)
    except ValueError:
        raise ValueError(f"{name} needs a number, got {text!r}") from None


def _about(option: Payload) -> str:
    return f"{option.get('description', '')}{' (required)' if option.get('required') else ''}"
