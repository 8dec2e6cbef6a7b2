"""Every version of every field of an event, with the document that stated it."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import pandas as pd
import psycopg
import pytest

from headrace.frames.as_of.snapshot import history_frame
from headrace.frames.errors import BadArgument
from services.loader.load import Loader
from shared.runtime.metrics import Metrics
from tests.headrace.frames.as_of.reading import reader_of
from tests.services.loader.facts import StillClock, at, entry, key, listed, observed, outcomes, received, settled

Connection = psycopg.Connection[Any]
RECORD = UUID(int=5)


def history(connection: Connection, *items: Any) -> pd.DataFrame:
    for item in items:
        Loader(StillClock(), Metrics()).handle([item], connection)
    return history_frame(reader_of(connection), key())


def changes_of(frame: pd.DataFrame, field: str) -> list[tuple[str | None, str | None, str, int]]:
    rows = frame[frame.field == field].astype(object).where(frame.notna(), None)
    return list(zip(rows.previous, rows.value, rows.change, rows.version, strict=True))


def weighing(weight_kg: float | None) -> tuple[Any, ...]:
    return (entry(1), entry(2, measures={"weight_kg": weight_kg, "age_years": 30.0}), entry(3), entry(4))


def test_each_version_is_listed_in_the_order_of_knowledge(connection: Connection) -> None:
    frame = history(
        connection,
        received(listed(known=-300, entries=weighing(52.0))),
        received(listed(known=-200, entries=weighing(None), document_hash="b" * 64)),
        received(listed(known=-250, entries=weighing(53.5), document_hash="c" * 64)),  # arrives late
    )

    assert changes_of(frame, "entries.2.measures.weight_kg") == [
        (None, "52.0", "first", 1),
        ("52.0", "53.5", "correction", 3),
        ("53.5", None, "regression", 2),
    ]
    rows = frame[frame.field == "entries.2.measures.weight_kg"]
    assert list(rows.known_at) == [at(-300), at(-250), at(-200)]
    assert list(rows.document) == ["d" * 64, "c" * 64, "b" * 64]
    assert set(frame.kind) == {"listed"}
    assert frame.known_at.is_monotonic_increasing


def test_corrections_and_regressions_are_those_of_the_views(connection: Connection) -> None:
    frame = history(
        connection,
        received(listed()),
        received(observed()),
        received(settled(known=20)),
        received(settled(known=25, outcomes=outcomes(2, 1, 3, 4))),
        received(settled(known=30, technique=None)),
    )

    for change, view, columns in (
        ("correction", "corrections", "field, old, new"),
        ("regression", "regressions", "field, kept, NULL"),
    ):
        rows = connection.execute(
            f"SELECT {columns}, known_at, record_id::text FROM analytics.{view} ORDER BY known_at, field"
        ).fetchall()
        listing = frame[frame.change == change][["field", "previous", "value", "known_at", "record_id"]]
        assert rows
        assert [tuple(row) for row in listing.astype(object).where(listing.notna(), None).to_numpy()] == rows


def test_a_final_status_is_no_correction(connection: Connection) -> None:
    frame = history(
        connection,
        received(listed()),
        received(settled(known=18, status="provisional", transactions=())),
        received(settled(known=20)),
    )

    assert changes_of(frame, "status") == [(None, "provisional", "first", 1), ("provisional", "settled", "update", 2)]


def test_a_record_that_was_cleaned_again_shows_what_the_replay_changed(connection: Connection) -> None:
    frame = history(
        connection,
        received(listed(), UUID(int=1)),
        received(settled(technique=1), RECORD),
        received(settled(technique=3), RECORD, revision="17"),
    )

    assert changes_of(frame, "technique") == [(None, "3", "first", 2), ("1", "3", "replay", 2)]
    assert set(frame[frame.kind == "settled"].revision) == {"17"}


def test_an_unknown_event_is_refused_with_an_example(connection: Connection) -> None:
    with pytest.raises(BadArgument, match=r"no event 'river:2031'.*source:date:venue:number"):
        history_frame(reader_of(connection), "river:2031")
