"""Who the bot is, where the gateway is, and the guild."""

from __future__ import annotations

from simulator.discord.errors import UNKNOWN_GUILD, UNKNOWN_USER, ApiError, Payload
from simulator.discord.routes.call import ApiCall, ApiReply
from simulator.discord.state import DiscordState


def get_me(call: ApiCall) -> ApiReply:
    return ApiReply(call.state.guild.bot.payload() | {"verified": True, "mfa_enabled": False, "locale": "en-US"})


def get_application(call: ApiCall) -> ApiReply:
    guild = call.state.guild
    owner = next(iter(guild.people.values()))
    return ApiReply(
        {
            "id": str(guild.application_id),
            "name": guild.bot.name,
            "icon": None,
            "description": "A simulated application",
            "summary": "",
            "bot_public": False,
            "bot_require_code_grant": False,
            "owner": owner.payload(),
            "team": None,
            "verify_key": "0" * 64,
            "flags": 0,
            "tags": [],
            "bot": guild.bot.payload(),
            "approximate_guild_count": 1,
            "interactions_endpoint_url": None,
        }
    )


def get_gateway(call: ApiCall) -> ApiReply:
    return ApiReply({"url": gateway_url(call.state)})


def get_bot_gateway(call: ApiCall) -> ApiReply:
    limit = {"total": 1000, "remaining": 999, "reset_after": 86_400_000, "max_concurrency": 1}
    return ApiReply({"url": gateway_url(call.state), "shards": 1, "session_start_limit": limit})


def gateway_url(state: DiscordState) -> str:
    return state.base_url.replace("http", "ws", 1) + "/gateway"


def get_guild(call: ApiCall) -> ApiReply:
    _check_guild(call)
    return ApiReply(call.state.guild.payload())


def list_channels(call: ApiCall) -> ApiReply:
    _check_guild(call)
    guild = call.state.guild
    return ApiReply([each.payload(guild.id) for each in guild.channels.values() if each.kind == 0])


def list_roles(call: ApiCall) -> ApiReply:
    _check_guild(call)
    return ApiReply([role.payload() for role in call.state.guild.roles.values()])


def get_member(call: ApiCall) -> ApiReply:
    _check_guild(call)
    person = call.state.guild.people.get(call.id_of("user"))
    if person is None or not person.is_member:
        raise ApiError(UNKNOWN_USER)
    return ApiReply(person.member_payload())


def get_user(call: ApiCall) -> ApiReply:
    person = call.state.guild.people.get(call.id_of("user"))
    if person is None:
        raise ApiError(UNKNOWN_USER)
    return ApiReply(person.payload())


def list_my_guilds(call: ApiCall) -> ApiReply:
    guild = call.state.guild
    permissions = str(guild.permissions_of(guild.bot))
    mine: Payload = {"id": str(guild.id), "name": guild.name, "icon": None, "owner": False, "features": []}
    return ApiReply([mine | {"permissions": permissions}])


def _check_guild(call: ApiCall) -> None:
    if call.id_of("guild") != call.state.guild.id:
        raise ApiError(UNKNOWN_GUILD)
