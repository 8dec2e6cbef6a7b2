"""Hand-made frames: a live day with predictions, results and messages."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from io import StringIO

from rich.cells import cell_len
from rich.console import Console

from headrace.progress.frame import (
    Details,
    EntryForecast,
    EventForecast,
    Frame,
    HitRate,
    LoadedResult,
    Phase,
    SentMessage,
    Stage,
    StageState,
    StageStatus,
)
from headrace.progress.screen.layout import screen
from shared.topics import PREDICTIONS, RAW, SERVICES, STREAMS

ZONE = timezone(timedelta(hours=9), "JST")
BEGINS = datetime(2031, 5, 6, 1, tzinfo=UTC)
NOW = BEGINS + timedelta(hours=2, minutes=30)
LIVE = Phase(
    "live day", "live day 2031-05-06", "clock", None, BEGINS, BEGINS + timedelta(hours=8), zone=ZONE, speed=300.0
)
LOADING = Phase("load history", "loading 60 days of history", "load", zone=ZONE)
STEPS = ("load history", "train", "live day", "score")
TIP = SentMessage(
    3,
    "tip",
    "**Favourite** · Kawabe 2031-05-06, event 8\n1 たき\\_づつみ けいすけ wins with probability 77.3 %\nA third line.",
)


def event(number: int, minutes: float, **given: object) -> EventForecast:
    """Of six entries, slot 1 the favourite; it starts so many minutes after NOW."""
    chances = (0.55, 0.2, 0.1, 0.08, 0.05, 0.02)
    entries = tuple(EntryForecast(slot, f"たきづつみ {slot}", chance) for slot, chance in enumerate(chances, start=1))
    starts_at = NOW + timedelta(minutes=minutes)
    forecast = EventForecast(
        f"river:2031-05-06:07:{number:02}", "Kawabe", number, starts_at, "observed", "card", entries
    )
    return replace(forecast, **given)  # type: ignore[arg-type]


def stage(service: str, state: StageState = "running", **given: object) -> Stage:
    made = Stage(service, StageStatus(state, 1), 8931, 12.0, 0, (1.0, 5.0, 2.0), "2,928 events")
    return replace(made, **given)  # type: ignore[arg-type]


DETAILS = Details(
    statuses={service: StageStatus("running", 1) for service in SERVICES},
    upcoming=(event(9, 7), event(10, 20)),
    started=(
        event(8, -5),
        event(7, -20, status="settled", winners=(1,), payout=160),
        event(6, -40, status="settled", winners=(4,), payout=1240),
    ),
    results=(LoadedResult("Kawabe", 5, NOW - timedelta(hours=1), "3 たきづつみ", 410),),
    rows={"sessions": 4, "events": 2928},
    score=HitRate(48, 20, 11, 10.6),
    predictions=61,
    sent=3,
    messages=(TIP,),
)
FRAME = Frame(
    title="demonstration",
    steps=STEPS,
    phase=LIVE,
    elapsed_s=83.2,
    phase_s=30.0,
    now=NOW,
    stages=tuple(stage(service) for service in SERVICES),
    topics={**dict.fromkeys(STREAMS, 8931), RAW: 9001, PREDICTIONS: 61},
    details=DETAILS,
    log=("   9.1 s  history is loaded",),
)


def rows_of(frame: Frame, width: int, height: int) -> list[str]:
    """The screen as text, one string a row."""
    console = Console(width=width, height=height, file=StringIO(), force_terminal=True, color_system=None)
    lines = console.render_lines(screen(frame, width, height), console.options.update_height(height))
    rows = ["".join(segment.text for segment in line) for line in lines]
    assert {cell_len(row) for row in rows} == {width}
    return rows


def text_of(frame: Frame, width: int = 150, height: int = 45) -> str:
    return "\n".join(rows_of(frame, width, height))
