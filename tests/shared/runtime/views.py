"""A view with values set by the test, for tests without a loop."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass
class GivenView:
    service: str = "loader"
    state: str = "running"
    is_alive: bool = True
    readiness: tuple[bool, str] = (True, "")
    detail: dict[str, Any] = field(default_factory=dict)
    partitions: list[dict[str, Any]] = field(default_factory=list)

    def alive(self) -> bool:
        return self.is_alive

    def ready(self) -> tuple[bool, str]:
        return self.readiness

    def status(self) -> dict[str, Any]:
        return {"service": self.service, "replica": "r", "state": self.state, "detail": self.detail}

    def lag(self, *, thorough: bool = False) -> list[dict[str, Any]]:
        return self.partitions


@dataclass
class BrokenView(GivenView):
    error: Exception = field(default_factory=lambda: RuntimeError("the secret cause"))

    def lag(self, *, thorough: bool = False) -> list[dict[str, Any]]:
        raise self.error
