"""Application commands: the global ones and those of the guild."""

from __future__ import annotations

from simulator.discord.command_rules import MOST_COMMANDS, SLASH, read_command, read_commands
from simulator.discord.errors import MISSING_ACCESS, UNKNOWN_COMMAND, ApiError, FormErrors, Payload
from simulator.discord.routes.call import NO_CONTENT, ApiCall, ApiReply
from simulator.discord.state import DiscordState


def list_commands(call: ApiCall) -> ApiReply:
    return ApiReply(list(_commands(call).values()))


def get_command(call: ApiCall) -> ApiReply:
    return ApiReply(_command(call))


def overwrite_commands(call: ApiCall) -> ApiReply:
    """Replace all commands. Those that keep their name keep their id."""
    form = FormErrors()
    commands = read_commands(form.objects(call.content, (), MOST_COMMANDS), form)
    form.raise_if_any()
    existing = _commands(call)
    by_name = {(each["type"], each["name"]): each for each in existing.values()}
    stored = [_stored(call, each, by_name.get((each["type"], each["name"]))) for each in commands]
    existing.clear()
    existing.update({int(each["id"]): each for each in stored})
    _announce(call.state)
    return ApiReply(stored)


def create_command(call: ApiCall) -> ApiReply:
    """A command of the same name is replaced."""
    form = FormErrors()
    command = read_command(call.payload, (), form)
    form.raise_if_any()
    existing = _commands(call)
    key = (command["type"], command["name"])
    old = next((each for each in existing.values() if (each["type"], each["name"]) == key), None)
    stored = _stored(call, command, old)
    existing[int(stored["id"])] = stored
    _announce(call.state)
    return ApiReply(stored, 201 if old is None else 200)


def edit_command(call: ApiCall) -> ApiReply:
    old = _command(call)
    form = FormErrors()
    command = read_command({**old, **call.payload, "type": old["type"]}, (), form)
    form.raise_if_any()
    stored = _stored(call, command, old)
    _commands(call)[int(stored["id"])] = stored
    _announce(call.state)
    return ApiReply(stored)


def delete_command(call: ApiCall) -> ApiReply:
    del _commands(call)[int(_command(call)["id"])]
    _announce(call.state)
    return NO_CONTENT


def _commands(call: ApiCall) -> dict[int, Payload]:
    """Raises ApiError for another application or guild."""
    guild = call.state.guild
    if call.id_of("application") != guild.application_id:
        raise ApiError(MISSING_ACCESS)
    scope = None
    if "guild" in call.parameters:
        scope = call.id_of("guild")
        if scope != guild.id:
            raise ApiError(MISSING_ACCESS)
    return call.state.commands.setdefault(scope, {})


def _command(call: ApiCall) -> Payload:
    command = _commands(call).get(call.id_of("command"))
    if command is None:
        raise ApiError(UNKNOWN_COMMAND)
    return command


def _stored(call: ApiCall, command: Payload, old: Payload | None) -> Payload:
    """The command with its id and the id of its version."""
    number = str(call.state.next_id()) if old is None else old["id"]
    guild = {"guild_id": str(call.state.guild.id)} if "guild" in call.parameters else {}
    if command["type"] != SLASH:
        command = {key: value for key, value in command.items() if key != "options"}
    application = {"id": number, "application_id": str(call.state.guild.application_id), **guild}
    return application | {"version": str(call.state.next_id())} | command


def _announce(state: DiscordState) -> None:
    """The page shows the commands."""
    state.emit("FAKE_COMMANDS_CHANGED", {})
