"""Records every request, so that a test can say what a client did and what it must not do."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from fnmatch import fnmatchcase

from simulator.discord.errors import Payload

# Discord blocks an address after 10,000 of these in 10 minutes.
INVALID_STATUSES = (401, 403, 429)
MOST_LOGGED = 100_000


@dataclass
class LoggedRequest:
    """`at`: Unix time in seconds. `status` is None until the response is sent, and if the connection was cut."""

    at: float
    method: str
    path: str
    query: dict[str, str] = field(default_factory=dict)
    body: Payload | None = None
    user_agent: str = ""
    status: int | None = None

    @property
    def text(self) -> str:
        return f"{self.method} {self.path}"


class RequestLog:
    """The newest requests: a simulation that runs for days must not grow."""

    def __init__(self) -> None:
        self.requests: deque[LoggedRequest] = deque(maxlen=MOST_LOGGED)

    def matching(self, pattern: str = "*") -> list[LoggedRequest]:
        """Requests whose "METHOD /path" matches, in order of arrival."""
        return [each for each in self.requests if fnmatchcase(each.text, pattern)]

    def invalid(self) -> int:
        """How many requests count towards the block of a client."""
        return sum(each.status in INVALID_STATUSES for each in self.requests)
