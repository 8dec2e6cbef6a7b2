"""The guild of a new simulation. Its ids are the same after every start."""

from __future__ import annotations

from simulator.discord.guild import ChatChannel, ChatUser, Guild, GuildRole
from simulator.discord.snowflakes import fixed_snowflake


def default_guild() -> Guild:
    """A guild with an operator, a reader and a person without a role."""
    guild_id = fixed_snowflake(1)
    everyone = GuildRole(guild_id, "@everyone", position=0)
    operator = GuildRole(fixed_snowflake(11), "operator", 0xE67E22, position=3, mentionable=True)
    reader = GuildRole(fixed_snowflake(12), "reader", 0x3498DB, position=2, mentionable=True)
    ana = ChatUser(fixed_snowflake(21), "Ana Operator", (operator.id,))
    people = [
        ana,
        ChatUser(fixed_snowflake(22), "Ben Reader", (reader.id,)),
        ChatUser(fixed_snowflake(23), "Cleo Outsider"),
    ]
    channels = [
        ChatChannel(fixed_snowflake(31), "races", topic="Tips and results", position=0),
        ChatChannel(fixed_snowflake(32), "operations", topic="Alerts of the pipeline", position=1),
        ChatChannel(fixed_snowflake(33), "status-board", topic="The state of the pipeline", position=2),
        ChatChannel(fixed_snowflake(34), "general", topic="Everything else", position=3),
    ]
    return Guild(
        id=guild_id,
        name="Headrace (simulation)",
        owner_id=fixed_snowflake(29),
        bot=ChatUser(fixed_snowflake(2), "Headrace", is_bot=True),
        roles={role.id: role for role in (everyone, operator, reader)},
        people={person.id: person for person in people},
        channels={channel.id: channel for channel in channels},
    )
