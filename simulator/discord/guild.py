"""The guild: its roles, people and channels, with what Discord's API says about each."""

from __future__ import annotations

from dataclasses import dataclass, field

from simulator.discord.errors import Payload
from simulator.discord.snowflakes import created_at, timestamp_of

TEXT, DIRECT, THREAD = 0, 1, 11
PERMISSION_BITS = {
    "add_reactions": 6,
    "view_channel": 10,
    "send_messages": 11,
    "manage_messages": 13,
    "embed_links": 14,
    "attach_files": 15,
    "read_message_history": 16,
    "mention_everyone": 17,
    "use_application_commands": 31,
    "create_public_threads": 35,
    "send_messages_in_threads": 38,
    "pin_messages": 51,
}
# What a person may do. The bot may do everything, so that a test sees it if a message should not notify anyone.
MEMBER_PERMISSIONS = sum(
    1 << PERMISSION_BITS[name]
    for name in ("add_reactions", "view_channel", "send_messages", "read_message_history", "use_application_commands")
)
BOT_PERMISSIONS = sum(1 << bit for bit in PERMISSION_BITS.values())


@dataclass(frozen=True)
class GuildRole:
    id: int
    name: str
    colour: int = 0
    position: int = 1
    permissions: int = MEMBER_PERMISSIONS
    mentionable: bool = False

    def payload(self) -> Payload:
        colours = {"primary_color": self.colour, "secondary_color": None, "tertiary_color": None}
        return {
            "id": str(self.id),
            "name": self.name,
            "color": self.colour,
            "colors": colours,
            "hoist": False,
            "icon": None,
            "unicode_emoji": None,
            "position": self.position,
            "permissions": str(self.permissions),
            "managed": False,
            "mentionable": self.mentionable,
            "flags": 0,
        }


@dataclass
class ChatUser:
    """A user; a bot is one too. `blocks_bot`: direct messages of the bot are refused."""

    id: int
    name: str
    role_ids: tuple[int, ...] = ()
    is_bot: bool = False
    is_member: bool = True
    blocks_bot: bool = False

    def payload(self) -> Payload:
        return {
            "id": str(self.id),
            "username": self.name.lower().replace(" ", "_"),
            "global_name": self.name,
            "discriminator": "0",
            "avatar": None,
            "bot": self.is_bot,
            "system": False,
            "public_flags": 0,
        }

    def member_payload(self) -> Payload:
        return {
            "user": self.payload(),
            "nick": None,
            "avatar": None,
            "roles": [str(each) for each in self.role_ids],
            "joined_at": timestamp_of(created_at(self.id).timestamp()),
            "premium_since": None,
            "deaf": False,
            "mute": False,
            "flags": 0,
            "pending": False,
            "communication_disabled_until": None,
        }


@dataclass
class ChatChannel:
    """A text channel, a thread of one, or the direct messages of a person with the bot.

    `denied`: permissions that the bot lacks here. `parent_id`, `owner_id` and `archive_minutes` are those of a thread.
    """

    id: int
    name: str
    kind: int = TEXT
    topic: str = ""
    position: int = 0
    person: ChatUser | None = None
    parent_id: int | None = None
    owner_id: int = 0
    archive_minutes: int = 1440
    is_archived: bool = False
    is_locked: bool = False
    last_message_id: int | None = None
    message_count: int = 0
    denied: set[str] = field(default_factory=set)

    def payload(self, guild_id: int) -> Payload:
        last = None if self.last_message_id is None else str(self.last_message_id)
        shared: Payload = {"id": str(self.id), "type": self.kind, "last_message_id": last, "flags": 0}
        if self.person is not None:
            return shared | {"recipients": [self.person.payload()]}
        shared |= {"guild_id": str(guild_id), "name": self.name, "nsfw": False, "rate_limit_per_user": 0}
        if self.kind == THREAD:
            return shared | self._thread_fields()
        return shared | {"parent_id": None, "position": self.position, "topic": self.topic, "permission_overwrites": []}

    def _thread_fields(self) -> Payload:
        created = timestamp_of(created_at(self.id).timestamp())
        return {
            "parent_id": str(self.parent_id),
            "owner_id": str(self.owner_id),
            "member_count": 1,
            "message_count": min(50, self.message_count),
            "total_message_sent": self.message_count,
            "thread_metadata": {
                "archived": self.is_archived,
                "auto_archive_duration": self.archive_minutes,
                "archive_timestamp": created,
                "locked": self.is_locked,
                "create_timestamp": created,
            },
        }


@dataclass
class Guild:
    """The only guild, with the bot in it. Its first role is @everyone, whose id is the guild's."""

    id: int
    name: str
    bot: ChatUser
    owner_id: int
    roles: dict[int, GuildRole] = field(default_factory=dict)
    people: dict[int, ChatUser] = field(default_factory=dict)
    channels: dict[int, ChatChannel] = field(default_factory=dict)

    @property
    def application_id(self) -> int:
        """The application has the id of its bot, as all new ones do."""
        return self.bot.id

    def role_named(self, name: str) -> GuildRole:
        return next(role for role in self.roles.values() if role.name == name)

    def person_named(self, name: str) -> ChatUser | None:
        return next((person for person in self.people.values() if person.name == name), None)

    def channel_named(self, name: str) -> ChatChannel:
        return next(each for each in self.channels.values() if each.name == name and each.kind == TEXT)

    def permissions_of(self, person: ChatUser) -> int:
        """The bits of all roles of a member."""
        bits = BOT_PERMISSIONS if person.id == self.bot.id else 0
        for role_id in (self.id, *person.role_ids):
            bits |= self.roles[role_id].permissions
        return bits

    def payload(self) -> Payload:
        return {
            "id": str(self.id),
            "name": self.name,
            "icon": None,
            "splash": None,
            "discovery_splash": None,
            "owner_id": str(self.owner_id),
            "afk_channel_id": None,
            "afk_timeout": 300,
            "verification_level": 0,
            "default_message_notifications": 1,
            "explicit_content_filter": 0,
            "emojis": [],
            "features": [],
            "mfa_level": 0,
            "application_id": None,
            "system_channel_id": None,
            "system_channel_flags": 0,
            "rules_channel_id": None,
            "vanity_url_code": None,
            "description": None,
            "banner": None,
            "premium_tier": 0,
            "preferred_locale": "en-US",
            "public_updates_channel_id": None,
            "nsfw_level": 0,
            "premium_progress_bar_enabled": False,
            "stickers": [],
            "incidents_data": None,
            "roles": [role.payload() for role in self.roles.values()],
        }

    def create_payload(self) -> Payload:
        """The event GUILD_CREATE; without the intent for members it contains only the bot."""
        channels = [each.payload(self.id) for each in self.channels.values() if each.kind == TEXT]
        threads = [each.payload(self.id) for each in self.channels.values() if each.kind == THREAD]
        return self.payload() | {
            "joined_at": timestamp_of(created_at(self.bot.id).timestamp()),
            "large": False,
            "unavailable": False,
            "member_count": 1 + len(self.people),
            "voice_states": [],
            "presences": [],
            "stage_instances": [],
            "guild_scheduled_events": [],
            "soundboard_sounds": [],
            "channels": channels,
            "threads": threads,
            "members": [self.bot.member_payload()],
        }
