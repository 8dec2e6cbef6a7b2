"""What a person sees while a run goes on, on stderr: a live table on a terminal, else a line now and then."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import psycopg
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from headrace.progress.positions import Reading, waiting_for
from headrace.progress.throughput import Meter
from shared.topics import SERVICES

LINE_EVERY_S = 2.0
LATEST_EVERY_S = 2.0
LATEST = 3


@dataclass(frozen=True)
class Frame:
    """One moment of a run. `at_s` is monotonic; `latest` fetches the newest predictions and messages."""

    title: str
    reading: Reading
    meter: Meter
    at_s: float
    latest: Callable[[], list[str]]


class View(Protocol):
    def show(self, frame: Frame) -> None: ...

    def say(self, text: str) -> None:
        """Something that happened, to stay on the screen."""
        ...

    def close(self) -> None: ...


class LineView:
    """For pipes and logs."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._last_s = 0.0

    def show(self, frame: Frame) -> None:
        if frame.at_s - self._last_s >= LINE_EVERY_S:
            self._last_s = frame.at_s
            self.say(line_of(frame))

    def say(self, text: str) -> None:
        self._console.print(text, highlight=False, markup=False, soft_wrap=True)

    def close(self) -> None:
        """Nothing is held."""


class LiveView:
    """For a terminal. Refreshed by `show` only, so no thread runs beside the supervisor's forks."""

    def __init__(self, console: Console) -> None:
        self._live = Live(console=console, auto_refresh=False, transient=True)
        self._live.start()
        self._latest_s = 0.0
        self._latest: list[Text] = []

    def show(self, frame: Frame) -> None:
        if frame.at_s - self._latest_s >= LATEST_EVERY_S:
            self._latest_s = time.monotonic()
            self._latest = [_line(text) for text in frame.latest()]
        parts: list[RenderableType] = [_line(frame.title), table_of(frame), _line(below(frame)), *self._latest]
        self._live.update(Group(*parts), refresh=True)

    def say(self, text: str) -> None:
        self._live.console.print(text, highlight=False, markup=False)

    def close(self) -> None:
        self._live.stop()


def view_for(console: Console) -> View:
    return LiveView(console) if console.is_terminal and not console.is_dumb_terminal else LineView(console)


def line_of(frame: Frame) -> str:
    """`reading 60 days · fetcher 1,200 (350/s) · ...`: a stage's records in this run, its rate now, its lag."""
    parts = []
    for service in SERVICES:
        lag = frame.reading.positions.lag(service)
        behind = f", {lag:,} to go" if lag else ""
        parts.append(f"{service} {frame.meter.records(service):,} ({frame.meter.recent_per_s(service):,.0f}/s{behind})")
    return " · ".join([frame.title, *parts])


def table_of(frame: Frame) -> Table:
    table = Table("stage")
    for name in ("records", "records/s", "to go", "last moved"):
        table.add_column(name, justify="right")
    for service in SERVICES:
        idle_s = frame.meter.idle_s(service, frame.at_s)
        table.add_row(
            service,
            f"{frame.meter.records(service):,}",
            f"{frame.meter.recent_per_s(service):,.0f}",
            f"{frame.reading.positions.lag(service):,}",
            "" if idle_s is None else f"{idle_s:.0f} s ago",
        )
    return table


def below(frame: Frame) -> str:
    """How far the windows are, and what is waited for."""
    parts = []
    if fetcher := frame.reading.fetcher:
        failed = f", {len(fetcher.failed)} failed" if fetcher.failed else ""
        parts.append(f"windows: {fetcher.done:,} done, {fetcher.due:,} due{failed}")
    if waiting := waiting_for(frame.reading):
        parts.append(f"waiting for {waiting}")
    return " · ".join(parts)


def latest(connection: psycopg.Connection[tuple[Any, ...]]) -> list[str]:
    """The newest predictions (the most probable winner) and messages."""
    predicted = connection.execute(
        "SELECT e.event_key, p.state, best.slot, best.probability"
        " FROM (SELECT * FROM facts.predictions ORDER BY as_of DESC LIMIT %s) p"
        " JOIN facts.events e ON e.id = p.event_id CROSS JOIN LATERAL ("
        "   SELECT slot, probability FROM jsonb_to_recordset(p.probabilities)"
        "   AS h(head text, slot smallint, probability double precision)"
        "   WHERE head = 'result' ORDER BY probability DESC LIMIT 1) best ORDER BY p.as_of DESC",
        (LATEST,),
    ).fetchall()
    told = connection.execute(
        "SELECT text FROM notifier.ledger WHERE state = 'sent' ORDER BY id DESC LIMIT %s", (LATEST,)
    ).fetchall()
    return [
        *(
            f"predicted {key} ({state}): {slot} wins with {probability:.0%}"
            for key, state, slot, probability in predicted
        ),
        *(f"told      {' / '.join(text.split())}" for (text,) in told),
    ]


def _line(text: str) -> Text:
    return Text(text, overflow="ellipsis", no_wrap=True)
