"""All parts of the simulated Discord that requests and tests share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from simulator.discord.faults import FaultPlan, GatewayFaults
from simulator.discord.gateway_sessions import GatewaySessions
from simulator.discord.rate_limits import RateLimits
from simulator.discord.request_log import RequestLog
from simulator.discord.state import DiscordState

HEARTBEAT_S = 41.25


@dataclass
class DiscordSimulation:
    """`is_revoked`: the bot's token is refused from now on. `on_change`: called after everything that happens."""

    state: DiscordState
    limits: RateLimits = field(default_factory=RateLimits)
    faults: FaultPlan = field(default_factory=FaultPlan)
    gateway_faults: GatewayFaults = field(default_factory=GatewayFaults)
    log: RequestLog = field(default_factory=RequestLog)
    heartbeat_s: float = HEARTBEAT_S
    is_revoked: bool = False
    on_change: Callable[[], None] = lambda: None

    def __post_init__(self) -> None:
        self.sessions = GatewaySessions(self.state)
        self.state.listeners.append(lambda _: self.on_change())

    def accepts(self, token: str) -> bool:
        return token == self.state.token and not self.is_revoked
