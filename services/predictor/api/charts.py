"""Charts of published predictions: of one day, and the calibration of the live model. Drawn for each request."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, date, datetime, time, timedelta
from http import HTTPStatus
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

from fastapi import APIRouter, HTTPException, Query, Response

from services.predictor.api.models import PNG
from services.predictor.registry import state_file
from shared.database.connection import DbConnection
from shared.errors import TransientError
from shared.runtime.api.context import AdminContext
from shared.runtime.api.problems import responses

if TYPE_CHECKING:
    from services.predictor.evaluation.live_figures import LiveFigures, PublishedPrediction

Source = Annotated[
    str, Query(pattern=r"^[a-z][a-z0-9_-]{0,39}$", description="name of a source", examples=["boatrace"])
]
Day = Annotated[
    date,
    Query(
        ge=date(1970, 1, 1), le=date(2200, 1, 1), description="day of the events, in the source's own time zone",
        examples=["2026-01-31"],
    ),
]  # fmt: skip
Days = Annotated[int, Query(ge=1, le=90, description="number of days up to the newest settled event", examples=[30])]

# The newest events of the period: a month of a busy source, drawn in a second.
MAX_EVENTS = 5000
BASE_RATE_DAYS = 90
# Drawing takes a second or less, and a request should not wait longer than for a connection.
WAIT_S = 5.0

# Events with exactly one winner, each with the last prediction before its start, or with nulls if there is none.
# A model's version begins with the last day of its data. Days of its data are left out: a replay may have let the model
# predict them, and they would flatter it.
_LAST_PREDICTIONS = """
WITH settled AS MATERIALIZED (
    SELECT e.event_key, e.session_key, e.scheduled_at, w.slot AS winner
    FROM analytics.events e
    JOIN LATERAL (SELECT min(o.slot) AS slot, count(*) AS winners FROM analytics.outcomes o
                  WHERE o.event_key = e.event_key AND o.place = 1) w ON w.winners = 1
    WHERE e.status = 'settled' AND e.scheduled_at BETWEEN %(begin)s AND %(end)s AND starts_with(e.event_key, %(prefix)s)
    ORDER BY e.scheduled_at DESC, e.event_key DESC LIMIT %(most)s
)
SELECT s.scheduled_at, s.session_key, s.winner, p.model_version, p.slots, p.p_win
FROM settled s
LEFT JOIN LATERAL (
    SELECT p.model_version, array_agg(p.slot ORDER BY p.slot) AS slots,
           array_agg(p.probability ORDER BY p.slot) AS p_win
    FROM analytics.predictions p
    WHERE p.event_key = s.event_key AND p.head = 'result' AND p.as_of <= s.scheduled_at
      AND CASE WHEN %(model)s::text IS NULL THEN NOT p.shadow ELSE p.model_version = %(model)s END
      AND left(p.model_version, 8) < replace(split_part(s.event_key, ':', 2), '-', '')
    GROUP BY p.model_version, p.as_of, p.state, p.shadow
    ORDER BY p.as_of DESC, p.state DESC, p.model_version DESC LIMIT 1
) p ON true
ORDER BY s.scheduled_at, s.event_key
"""
_NEWEST_START = (
    "SELECT scheduled_at FROM analytics.events WHERE status = 'settled' AND scheduled_at IS NOT NULL"
    " ORDER BY scheduled_at DESC LIMIT 1"
)
_WINS = """
SELECT o.slot, count(*) FROM analytics.events e JOIN analytics.outcomes o USING (event_key)
WHERE e.status = 'settled' AND e.scheduled_at BETWEEN %(begin)s AND %(end)s AND e.settled_at <= %(end)s
  AND starts_with(e.event_key, %(prefix)s) AND o.place = 1
GROUP BY o.slot
"""


class SettledEvents(NamedTuple):
    """The settled events of a period: their starts, in order, and the predictions of those that have one."""

    starts: Sequence[datetime]
    predictions: Sequence[PublishedPrediction]


def router(context: AdminContext, models: Path) -> APIRouter:
    """`models`: the registry's directory. matplotlib is imported by the first request, because it takes a second."""
    router = APIRouter(prefix="/charts")
    canvas = threading.Lock()

    @router.get(
        "/day.png",
        summary="Get the chart of a day",
        response_class=Response,
        responses=responses(404) | {200: {"description": "The chart", "content": PNG}},
    )
    def get_day_chart(source: Source, day: Day) -> Response:
        """The last prediction of each settled event before its start, by the model that was live. Left: reliability of
        P(win). Right: gain in log-loss over the base rate, which is each slot's share of wins in the 90 days before.

        404: no event has settled, or none was predicted by a model that was trained on earlier days.
        """
        with context.transaction() as connection:
            events = settled_events_of(connection, source, day)
            wins = {} if not events.predictions else earlier_wins(connection, source, events.starts[0])
        figures = _figures(events, wins, f"{source} on {day}", "a live model")
        with _drawing(canvas) as charts:
            return _png(lambda target: charts.draw_day(target, figures, f"{source}, {day}"))

    @router.get(
        "/calibration.png",
        summary="Get the calibration chart of the live model",
        response_class=Response,
        responses=responses(404) | {200: {"description": "The chart", "content": PNG}},
    )
    def get_calibration_chart(days: Days = 30) -> Response:
        """Reliability of P(win) of the live model over the last days up to the newest settled event, at most 5,000
        events. Counts the last prediction of each event before its start, also of the time when the model was a shadow,
        and no day that the model was trained on.

        404: no model is live, no event has settled, or the model predicted none of them.
        """
        model = state_file.read(models).live
        if model is None:
            raise HTTPException(HTTPStatus.NOT_FOUND, "no model is live: promote one, GET /v1/models lists them")
        with context.transaction() as connection:
            events = recent_settled_events(connection, model, days)
        figures = _figures(events, {}, f"the last {days} days", f"model {model}")
        title = f"P(win) of model {model}\n{events.starts[0]:%Y-%m-%d} to {events.starts[-1]:%Y-%m-%d}"
        with _drawing(canvas) as charts:
            return _png(
                lambda target: charts.draw_reliability(target, figures.win, figures.occupied, figures.winner, title)
            )

    return router


def settled_events_of(connection: DbConnection, source: str, day: date) -> SettledEvents:
    """Of a source's day, with the predictions of the models that were live. At most MAX_EVENTS."""
    # A day of any time zone lies within these two: UTC-12 to UTC+14.
    begin = datetime.combine(day, time(), UTC)
    bounds = {"begin": begin - timedelta(hours=14), "end": begin + timedelta(hours=36)}
    return _settled_events(connection, {**bounds, "prefix": f"{source}:{day}:", "model": None, "most": MAX_EVENTS})


def recent_settled_events(connection: DbConnection, model: str, days: int, most: int = MAX_EVENTS) -> SettledEvents:
    """Of the last days up to the newest settled event, the newest `most`, with the predictions of this model."""
    newest = connection.execute(_NEWEST_START).fetchone()
    if newest is None:
        return SettledEvents([], [])
    bounds = {"begin": newest[0] - timedelta(days=days), "end": newest[0]}
    return _settled_events(connection, {**bounds, "prefix": "", "model": model, "most": most})


def earlier_wins(connection: DbConnection, source: str, before: datetime) -> dict[int, int]:
    """Wins by slot in the events of the BASE_RATE_DAYS before this time that had settled by then."""
    bounds = {"begin": before - timedelta(days=BASE_RATE_DAYS), "end": before}
    return dict(connection.execute(_WINS, {**bounds, "prefix": f"{source}:"}).fetchall())


def _settled_events(connection: DbConnection, parameters: Mapping[str, Any]) -> SettledEvents:
    from services.predictor.evaluation.live_figures import PublishedPrediction  # noqa: PLC0415

    rows = connection.execute(_LAST_PREDICTIONS, parameters).fetchall()
    return SettledEvents(
        [start for start, *_ in rows],
        [
            PublishedPrediction(session, model, dict(zip(slots, p_win, strict=True)), winner)
            for _, session, winner, model, slots, p_win in rows
            if model is not None
        ],
    )


def _figures(events: SettledEvents, wins: Mapping[int, int], period: str, predictor: str) -> LiveFigures:
    """Raises HTTPException 404, with the reason, if there is nothing to draw."""
    from services.predictor.evaluation.live_figures import live_figures  # noqa: PLC0415

    if not events.starts:
        raise HTTPException(HTTPStatus.NOT_FOUND, f"nothing to draw: no event of {period} has settled with one winner")
    figures = live_figures(events.predictions, wins)
    if not len(figures):
        raise HTTPException(
            HTTPStatus.NOT_FOUND,
            f"nothing to draw: {len(events.starts)} events of {period} have settled, but none has a prediction by"
            f" {predictor} that was made before its start (days of a model's training data do not count)",
        )
    return figures


@contextmanager
def _drawing(canvas: threading.Lock) -> Iterator[Any]:
    """The charts module, for one request at a time: drawing needs a core and some memory."""
    if not canvas.acquire(timeout=WAIT_S):
        raise TransientError("other charts are being drawn; try again")
    try:
        from services.predictor.evaluation import charts  # noqa: PLC0415

        yield charts
    finally:
        canvas.release()


def _png(draw: Callable[[BytesIO], None]) -> Response:
    target = BytesIO()
    draw(target)
    return Response(target.getvalue(), media_type="image/png")
