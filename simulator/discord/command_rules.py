"""Discord's limits of application commands, and the options of a command that a person enters."""

from __future__ import annotations

import re
from collections.abc import Mapping

from simulator.discord.errors import FieldPath, FormErrors, Payload

NAME = re.compile(r"[-_'\w]{1,32}")
MOST_COMMANDS = 100
MOST_OPTIONS = 25
SUBCOMMAND, GROUP, STRING, INTEGER, BOOLEAN, USER, CHANNEL, ROLE, MENTIONABLE, NUMBER, ATTACHMENT = range(1, 12)
SLASH = 1
VALUE_TYPES = {STRING: str, INTEGER: int, BOOLEAN: bool, NUMBER: float}
OptionValue = str | int | float | bool


def read_command(payload: Payload, path: FieldPath, form: FormErrors) -> Payload:
    """The fields of a command in the form in which Discord returns them."""
    kind = form.integer(payload.get("type", SLASH) or SLASH, (*path, "type"), 1, 4)
    _check_name(payload.get("name"), kind == SLASH, (*path, "name"), form)
    if kind == SLASH:
        form.text(payload.get("description"), (*path, "description"), 100, 1)
    options = _read_options(payload.get("options") or [], (*path, "options"), form) if kind == SLASH else []
    if _characters(payload) > 8000:
        form.add(path, "APPLICATION_COMMAND_TOO_LARGE", "Command exceeds maximum size (8000)")
    permissions = payload.get("default_member_permissions")
    contexts = payload.get("contexts")
    if payload.get("dm_permission") is False and contexts is None:
        contexts = [0]
    return {
        "type": kind,
        "name": payload.get("name"),
        "description": payload.get("description") or "",
        "options": options,
        "default_member_permissions": None if permissions is None else str(permissions),
        "nsfw": payload.get("nsfw") is True,
        "contexts": contexts,
        "integration_types": [0],
        "name_localizations": None,
        "description_localizations": None,
        "dm_permission": contexts != [0],
    }


def read_commands(payloads: list[tuple[FieldPath, Payload]], form: FormErrors) -> list[Payload]:
    """All commands of a bulk overwrite; names must be unique for each type."""
    commands = []
    names = set()
    for path, payload in payloads:
        command = read_command(payload, path, form)
        key = (command["type"], str(command["name"]))
        if key in names:
            form.add(path, "APPLICATION_COMMANDS_DUPLICATE_NAME", "Application command names must be unique")
        names.add(key)
        commands.append(command)
    return commands


def entered_options(
    command: Payload, words: list[str], values: Mapping[str, OptionValue], focused: str | None
) -> list[Payload]:
    """The options of an interaction: `words` names the subcommand, `focused` the option that is being completed.

    Raises ValueError where Discord's client would not send the command.
    """
    declared = command.get("options") or []
    if words:
        option = next(
            (each for each in declared if each["name"] == words[0] and each["type"] in (SUBCOMMAND, GROUP)), None
        )
        if option is None:
            raise ValueError(f"/{command['name']} has no subcommand {words[0]}")
        inner = entered_options(option, words[1:], values, focused)
        return [{"name": option["name"], "type": option["type"], "options": inner}]
    if any(each["type"] in (SUBCOMMAND, GROUP) for each in declared):
        raise ValueError(
            f"{command['name']} needs one of its subcommands: {', '.join(each['name'] for each in declared)}"
        )
    known = {each["name"]: each for each in declared}
    if unknown := values.keys() - known.keys():
        raise ValueError(f"{command['name']} has no option {', '.join(sorted(unknown))}")
    missing = [name for name, option in known.items() if option.get("required") and name not in values]
    if missing and focused is None:
        raise ValueError(f"{command['name']} needs {', '.join(missing)}")
    return [_entered(known[name], value, name == focused) for name, value in values.items()]


def _entered(option: Payload, value: OptionValue, is_focused: bool) -> Payload:
    kind = option["type"]
    if is_focused:
        return {"name": option["name"], "type": kind, "value": str(value), "focused": True}
    expected = VALUE_TYPES.get(kind, str)
    if kind == NUMBER and isinstance(value, int) and not isinstance(value, bool):
        value = float(value)
    if kind not in VALUE_TYPES:
        value = str(value)
    if not isinstance(value, expected) or (isinstance(value, bool) and kind != BOOLEAN):
        raise ValueError(f"{option['name']} needs a value of type {expected.__name__}, got {value!r}")
    choices = [each["value"] for each in option.get("choices") or []]
    if choices and value not in choices:
        raise ValueError(f"{option['name']} must be one of {choices}, got {value!r}")
    size = len(value) if isinstance(value, str) else value
    low, high = (option.get(f"{end}_{'length' if kind == STRING else 'value'}") for end in ("min", "max"))
    if (low is not None and size < low) or (high is not None and size > high):
        raise ValueError(f"{option['name']} must be from {low} to {high}, got {value!r}")
    return {"name": option["name"], "type": kind, "value": value}


def _check_name(value: object, is_slash: bool, path: FieldPath, form: FormErrors) -> None:
    name = form.text(value, path, 32, 1)
    if is_slash and name and (not NAME.fullmatch(name) or name != name.lower()):
        form.add(path, "APPLICATION_COMMAND_INVALID_NAME", "Command name is invalid")


def _read_options(value: object, path: FieldPath, form: FormErrors, depth: int = 0) -> list[Payload]:
    options = form.objects(value, path, MOST_OPTIONS)
    names: set[object] = set()
    has_optional = False
    for where, option in options:
        _check_option(option, where, form, depth)
        name = option.get("name")
        if isinstance(name, str) and name in names:
            form.add((*where, "name"), "APPLICATION_COMMAND_OPTIONS_NAME_ALREADY_EXISTS", "Option name already exists")
        names.add(name if isinstance(name, str) else "")
        if option.get("required") is True and has_optional:
            code = "APPLICATION_COMMAND_OPTIONS_REQUIRED_INVALID"
            form.add(where, code, "Required options must be placed before non-required options")
        has_optional = has_optional or (
            option.get("required") is not True and option.get("type") not in (SUBCOMMAND, GROUP)
        )
    return [option for _, option in options]


def _check_option(option: Payload, path: FieldPath, form: FormErrors, depth: int) -> None:
    kind = form.integer(option.get("type"), (*path, "type"), SUBCOMMAND, ATTACHMENT)
    _check_name(option.get("name"), True, (*path, "name"), form)
    form.text(option.get("description"), (*path, "description"), 100, 1)
    if option.get("required") is not None:
        form.boolean(option["required"], (*path, "required"))
    if option.get("type") in (SUBCOMMAND, GROUP):
        if depth > 1 or (kind == GROUP and depth):
            form.add((*path, "type"), "APPLICATION_COMMAND_OPTIONS_TYPE_INVALID", "Sub-command option type is invalid")
            return
        option["options"] = _read_options(option.get("options") or [], (*path, "options"), form, depth + 1)
    if option.get("choices"):
        if option.get("autocomplete") is True:
            form.add((*path, "autocomplete"), "APPLICATION_COMMAND_AUTOCOMPLETE_NOT_ALLOWED", "Not with choices")
        check_choices(option["choices"], kind, (*path, "choices"), form)


def check_choices(value: object, kind: int | None, path: FieldPath, form: FormErrors) -> list[Payload]:
    """The choices of an option, or of an autocompletion (then `kind` may be None: it is not known)."""
    choices = form.objects(value, path, 25)
    for where, choice in choices:
        form.text(choice.get("name"), (*where, "name"), 100, 1)
        content = choice.get("value")
        if isinstance(content, bool) or not isinstance(content, str | int | float):
            form.add((*where, "value"), "BASE_TYPE_INVALID", "Must be a string or a number")
        elif kind == STRING or isinstance(content, str):
            form.text(content, (*where, "value"), 100, 1)
    return [choice for _, choice in choices]


def _characters(payload: Payload) -> int:
    """The length of all names, descriptions and choices of a command."""
    texts = [payload.get("name"), payload.get("description"), payload.get("value")]
    size = sum(len(text) for text in texts if isinstance(text, str))
    for name in ("options", "choices"):
        items = payload.get(name)
        size += sum(_characters(item) for item in items if isinstance(item, dict)) if isinstance(items, list) else 0
    return size
