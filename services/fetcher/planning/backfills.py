"""Tracks backfills: windows requested in addition to the plan, with their outcomes. Not thread-safe."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Literal

from services.fetcher.planning.windows import Window

WindowOutcome = Literal["due", "done", "failed", "missing", "live"]


@dataclass
class Backfill:
    """One backfill. `again`: also fetch windows that are done. While `is_paused`, none of its windows is due."""

    windows: tuple[Window, ...]
    again: bool
    is_paused: bool = False
    outcomes: dict[Window, WindowOutcome] = field(default_factory=dict)

    def restart(self, done: Collection[Window]) -> None:
        """Start over. `done` are the windows that are committed as done."""
        self.outcomes = {window: "done" if window in done and not self.again else "due" for window in self.windows}


class Backfills:
    """All open backfills, by name (the id of their operation)."""

    def __init__(self) -> None:
        self._by_name: dict[str, Backfill] = {}

    def add(self, name: str, windows: Iterable[Window], again: bool, done: Collection[Window]) -> None:
        """Does nothing if there is a backfill of this name."""
        if name not in self._by_name:
            added = self._by_name[name] = Backfill(tuple(windows), again)
            added.restart(done)

    def pause(self, name: str, paused: bool) -> None:
        """Pause a backfill or resume it. Windows that are in flight still report their outcomes."""
        if name in self._by_name:
            self._by_name[name].is_paused = paused

    def drop(self, name: str) -> None:
        self._by_name.pop(name, None)

    def restart(self, done: Collection[Window]) -> None:
        for backfill in self._by_name.values():
            backfill.restart(done)

    def record_outcome(self, window: Window, outcome: WindowOutcome) -> None:
        for backfill in self._by_name.values():
            if window in backfill.outcomes:
                backfill.outcomes[window] = outcome

    def due_windows(self) -> Iterator[Window]:
        """Windows to fetch, each once, in the order they were requested."""
        running = (each for each in self._by_name.values() if not each.is_paused)
        windows = (w for each in running for w, outcome in each.outcomes.items() if outcome == "due")
        yield from dict.fromkeys(windows)

    def counts(self) -> dict[str, dict[str, int]]:
        """Windows of each backfill by outcome."""
        return {
            name: {"due": 0, "done": 0, "failed": 0, "missing": 0} | Counter[str](backfill.outcomes.values())
            for name, backfill in self._by_name.items()
        }
