"""The sessions of the gateway: numbered events, which a client that resumes receives again."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from simulator.discord.errors import Payload
from simulator.discord.guild import DIRECT
from simulator.discord.state import DiscordState, GuildEvent

GUILDS, GUILD_MESSAGES, DIRECT_MESSAGES = 1 << 0, 1 << 9, 1 << 12
PRIVILEGED = 1 << 1 | 1 << 8 | 1 << 15
KNOWN_INTENTS = (1 << 26) - 1
# Events that need an intent: one for the guild and one for direct messages.
INTENTS = {
    **dict.fromkeys(("MESSAGE_CREATE", "MESSAGE_UPDATE", "MESSAGE_DELETE"), (GUILD_MESSAGES, DIRECT_MESSAGES)),
    **dict.fromkeys(("CHANNEL_CREATE", "CHANNEL_UPDATE", "CHANNEL_PINS_UPDATE"), (GUILDS, DIRECT_MESSAGES)),
    **dict.fromkeys(("THREAD_CREATE", "THREAD_UPDATE"), (GUILDS, GUILDS)),
    "INTERACTION_CREATE": (0, 0),
}
MOST_BUFFERED = 1000


@dataclass
class GatewaySession:
    """`send`: sends an event to the client while it is connected."""

    id: str
    intents: int
    sequence: int = 0
    events: list[Payload] = field(default_factory=list)
    send: Callable[[Payload], None] | None = None
    is_invalid: bool = False

    def dispatch(self, name: str, data: Payload) -> None:
        self.sequence += 1
        event = {"op": 0, "t": name, "s": self.sequence, "d": data}
        self.events = [*self.events[1 - MOST_BUFFERED :], event]
        if self.send is not None:
            self.send(event)

    def wants(self, event: GuildEvent) -> bool:
        if event.name not in INTENTS or event.only_for is not None:
            return False
        in_guild, in_direct = INTENTS[event.name]
        needed = in_direct if event.channel is not None and event.channel.kind == DIRECT else in_guild
        return not needed or bool(self.intents & needed)

    def after(self, sequence: int) -> list[Payload]:
        return [event for event in self.events if event["s"] > sequence]


class GatewaySessions:
    def __init__(self, state: DiscordState) -> None:
        self._state = state
        self._sessions: dict[str, GatewaySession] = {}
        self.identified = 0
        self.resumed = 0
        state.listeners.append(self._on_event)

    def start(self, intents: int) -> GatewaySession:
        self.identified += 1
        session = GatewaySession(f"{self._state.next_id():032x}", intents)
        self._sessions[session.id] = session
        return session

    def resumable(self, session_id: object, sequence: object) -> GatewaySession | None:
        """The session, if a client may resume it after this event."""
        session = self._sessions.get(session_id) if isinstance(session_id, str) else None
        if session is None or session.is_invalid or not isinstance(sequence, int) or sequence > session.sequence:
            return None
        first = session.events[0]["s"] if session.events else 1
        return session if sequence >= first - 1 else None

    def connected(self) -> list[GatewaySession]:
        return [session for session in self._sessions.values() if session.send is not None]

    def ready(self, session: GatewaySession, gateway_url: str) -> Payload:
        """The data of READY."""
        guild = self._state.guild
        return {
            "v": 10,
            "user": guild.bot.payload() | {"verified": True, "mfa_enabled": False, "email": None},
            "guilds": [{"id": str(guild.id), "unavailable": True}],
            "session_id": session.id,
            "session_type": "normal",
            "resume_gateway_url": gateway_url,
            "shard": [0, 1],
            "application": {"id": str(guild.application_id), "flags": 0},
            "user_settings": {},
            "relationships": [],
            "private_channels": [],
            "presences": [],
            "guild_join_requests": [],
        }

    def _on_event(self, event: GuildEvent) -> None:
        for session in self._sessions.values():
            if session.wants(event):
                session.dispatch(event.name, event.data)
