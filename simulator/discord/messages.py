"""The messages of all channels and what Discord's API says about each."""

from __future__ import annotations

from dataclasses import dataclass, field

from simulator.discord.errors import Payload
from simulator.discord.guild import ChatChannel, ChatUser, Guild
from simulator.discord.mentions import Mentions
from simulator.discord.message_rules import EPHEMERAL, HAS_THREAD, Upload
from simulator.discord.snowflakes import created_at, timestamp_of

DEFAULT, PIN_NOTICE, REPLY, COMMAND_ANSWER = 0, 6, 19, 20


@dataclass(frozen=True)
class StoredFile:
    """An attachment. `base_url`: the address of the server, below which the file is served."""

    id: int
    channel_id: int
    upload: Upload
    description: str | None
    base_url: str

    @property
    def url(self) -> str:
        return f"{self.base_url}/attachments/{self.channel_id}/{self.id}/{self.upload.filename}"

    def payload(self) -> Payload:
        described = {} if self.description is None else {"description": self.description}
        return {
            "id": str(self.id),
            "filename": self.upload.filename,
            "size": len(self.upload.content),
            "url": self.url,
            "proxy_url": self.url,
            "content_type": self.upload.content_type,
            "flags": 0,
            **described,
        }


@dataclass
class PostedMessage:
    """`only_for`: the person who alone sees an ephemeral message. `history`: the payloads before each edit.

    `interaction`: the fields about the interaction that the message answers.
    """

    id: int
    channel: ChatChannel
    author: ChatUser
    kind: int = DEFAULT
    content: str = ""
    embeds: list[Payload] = field(default_factory=list)
    components: list[Payload] = field(default_factory=list)
    files: list[StoredFile] = field(default_factory=list)
    flags: int = 0
    mentions: Mentions = field(default_factory=Mentions)
    nonce: str | None = None
    edited_at: float | None = None
    pinned_at: float | None = None
    reference_id: int | None = None
    webhook: tuple[int, str] | None = None
    only_for: ChatUser | None = None
    interaction: Payload | None = None
    thread: ChatChannel | None = None
    history: list[Payload] = field(default_factory=list)

    @property
    def is_ephemeral(self) -> bool:
        return bool(self.flags & EPHEMERAL)

    def payload(self, guild: Guild) -> Payload:
        payload: Payload = {
            "id": str(self.id),
            "channel_id": str(self.channel.id),
            "type": self.kind,
            "content": self.content,
            "author": self._author(),
            "timestamp": timestamp_of(created_at(self.id).timestamp()),
            "tts": False,
            "edited_timestamp": None if self.edited_at is None else timestamp_of(self.edited_at),
            "mention_everyone": self.mentions.everyone,
            "mention_channels": [],
            "mentions": [person.payload() for person in self.mentions.users],
            "mention_roles": [str(each) for each in self.mentions.roles],
            "attachments": self._attachments(),
            "embeds": self._embeds(),
            "components": self.components,
            "pinned": self.pinned_at is not None,
            "flags": self.flags | (HAS_THREAD if self.thread else 0),
        }
        if self.nonce is not None:
            payload["nonce"] = self.nonce
        if self.webhook is not None:
            payload["webhook_id"] = str(self.webhook[0])
        if self.reference_id is not None:
            reference = {"message_id": str(self.reference_id), "channel_id": str(self.channel.id), "type": 0}
            payload["message_reference"] = reference | {"guild_id": str(guild.id)}
        if self.interaction is not None:
            payload |= {**self.interaction, "application_id": str(guild.application_id)}
            payload["webhook_id"] = str(guild.application_id)
        if self.thread is not None:
            payload["thread"] = self.thread.payload(guild.id)
        return payload

    def _author(self) -> Payload:
        if self.webhook is None:
            return self.author.payload()
        webhook_id, name = self.webhook
        return ChatUser(webhook_id, name, is_bot=True).payload() | {"username": name, "global_name": None}

    def _attachments(self) -> list[Payload]:
        """Without the files that an embed shows, as Discord does it."""
        text = str(self.embeds)
        return [each.payload() for each in self.files if f"attachment://{each.upload.filename}" not in text]

    def _embeds(self) -> list[Payload]:
        urls = {f"attachment://{each.upload.filename}": each.url for each in self.files}
        return [_with_urls(embed, urls) for embed in self.embeds]


def _with_urls(embed: Payload, urls: dict[str, str]) -> Payload:
    """The embed with the addresses of the attached pictures."""
    shown = dict(embed)
    for name in ("image", "thumbnail"):
        if name in embed:
            url = urls.get(embed[name]["url"], embed[name]["url"])
            shown[name] = {"url": url, "proxy_url": url, "width": 0, "height": 0}
    for name in ("footer", "author"):
        if "icon_url" in embed.get(name, {}):
            icon = embed[name]["icon_url"]
            shown[name] = embed[name] | {"icon_url": urls.get(icon, icon)}
    return shown
