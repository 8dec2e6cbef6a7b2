"""Whatever the rows are: a report is made, its shares are within 0 and 1, and the order of rows does not matter."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pandas as pd
from hypothesis import given, settings
from hypothesis import strategies as st

from headrace.frames.catalogue import SESSION_STATUSES, STATUSES
from headrace.quality.measures.values import shift_of
from tests.headrace.quality.made_up_facts import DAY, RowsInMemory, ShuffledReader, report_of

FIRST = datetime(2025, 4, 1, tzinfo=UTC)
SOURCES = ("lake", "river")
KNOWN_TIMES = st.sampled_from([FIRST + timedelta(days=days, hours=days % 7) for days in (0, 30, 35, 36, 37, 60)])
TIMES = st.none() | KNOWN_TIMES
VALUES = (None, 0, 1, 2.5, -1e300, 1e300, "x", True, [1], {"a": 1})
NAMES = ("weight_kg", "class", "slot", "event_key", "weather", "", "<b>")
JSON = st.sampled_from([None, {}, *({name: value} for name in NAMES for value in VALUES)])
PLACES = st.none() | st.integers(-1, 4)
DAYS = st.integers(-20, 2).map(lambda n: DAY + timedelta(days=n))


@st.composite
def rows_of_views(draw: st.DrawFn) -> RowsInMemory:
    sessions = draw(st.lists(st.tuples(st.sampled_from(SOURCES), DAYS, st.integers(1, 2)), max_size=3, unique=True))
    keys: list[tuple[str, str]] = []
    rows: dict[str, list[dict[str, Any]]] = {name: [] for name in CHILDREN}
    rows["sessions"] = []
    for source, day, venue in sessions:
        session_key = f"{source}:{day}:{venue:02d}"
        rows["sessions"].append({
            "session_key": session_key, "source": source, "date": day, "venue": venue, "grade": draw(PLACES),
            "status": draw(st.sampled_from(SESSION_STATUSES)), "title": draw(st.none() | st.just("cup")),
        })  # fmt: skip
        keys += [(f"{session_key}:{number:02d}", session_key) for number in range(1, draw(st.integers(1, 2)) + 1)]
    rows["events"] = [draw(event(*key)) for key in keys]
    for name, strategy in CHILDREN.items():
        some = [{"event_key": key, **draw(strategy)} for key, _ in keys for _ in range(2)]
        # Rows of a view have different keys.
        rows[name] = list({tuple(each.get(part) for part in (*KEY, "field")): each for each in some}.values())
    kinds = ("listed", "observed", "settled")
    versions = [{"event_key": key, "kind": kind, "known_at": draw(TIMES)} for key, _ in keys for kind in kinds]
    letters = draw(st.lists(letter(), max_size=2))
    return RowsInMemory(rows, [each for each in versions if each["known_at"] is not None], letters)


def event(key: str, session_key: str) -> st.SearchStrategy[dict[str, Any]]:
    times = dict.fromkeys(("scheduled_at", "known_at", "listed_at", "observed_at", "settled_at"), TIMES)
    return st.fixed_dictionaries({
        "event_key": st.just(key), "session_key": st.just(session_key), "number": st.just(int(key[-2:])),
        "status": st.sampled_from(STATUSES), "version": st.just(1), "distance_m": PLACES, "technique": PLACES,
        "conditions": JSON, "observed_conditions": JSON, "title": st.none(),
        "missing_markets": st.none() | st.lists(st.sampled_from(["win", "place"]), max_size=3), **times,
    })  # fmt: skip


def letter() -> st.SearchStrategy[dict[str, Any]]:
    keys = st.sampled_from(["lake:2025-05-06:01:01", "lake:venues", "", "::::", "lake:2025-99-99:x:y"])
    return st.fixed_dictionaries({
        "service": st.just("loader"), "error": st.just("InvalidEvent"), "key": keys, "failed_at": KNOWN_TIMES,
    })  # fmt: skip


KEY = ("event_key", "slot", "market", "selection", "kind", "reason")
FIELDS = ("distance_m", "entries.1.measures.x", "outcomes.1.result", "transactions.win.1", "", "a.b.c.")
CHANGES = {
    "kind": st.sampled_from(["listed", "observed", "settled"]), "field": st.sampled_from(FIELDS),
    "known_at": KNOWN_TIMES, "record_id": st.just("r"),
}  # fmt: skip
CHILDREN: dict[str, st.SearchStrategy[dict[str, Any]]] = {
    "entries": st.fixed_dictionaries({
        "slot": st.integers(1, 2), "entity_key": st.none() | st.sampled_from(["lake:1", "lake:2"]), "measures": JSON,
        "categories": JSON,
    }),
    "observations": st.fixed_dictionaries({"slot": st.integers(1, 2), "course": PLACES, "measures": JSON}),
    "outcomes": st.fixed_dictionaries({
        "slot": st.integers(1, 2), "place": PLACES, "code": PLACES, "course": PLACES, "refunded": st.booleans(),
        "start_timing_s": st.none() | st.sampled_from([-0.1, 0.0, 0.2, float('inf')]),
    }),
    "transactions": st.fixed_dictionaries({
        "market": st.sampled_from(["win", "exacta"]), "selection": st.sampled_from(["1", "1-2"]),
        "amount": st.integers(0, 2**62), "ordinal": st.integers(1, 2),
    }),
    "corrections": st.fixed_dictionaries({**CHANGES, "old": st.just("1"), "new": st.none()}),
    "regressions": st.fixed_dictionaries({**CHANGES, "kept": st.just("1")}),
    "parked": st.fixed_dictionaries({
        "kind": st.just("settled"), "reason": st.just("x"), "record_id": st.just("r"), "parked_at": KNOWN_TIMES,
    }),
}  # fmt: skip


@settings(max_examples=25)
@given(rows=rows_of_views(), seed=st.integers(0, 5))
def test_any_rows_give_a_report_in_any_order(rows: RowsInMemory, seed: int) -> None:
    last = DAY + timedelta(days=2)

    report, shuffled = report_of(rows, DAY, last), report_of(ShuffledReader(rows, seed), DAY, last)

    shares = report.measures[report.measures["unit"] == "share"]
    assert shares["value"].between(0, 1).all()
    assert (shares["count"] <= shares["total"]).all()
    assert (report.measures["count"].dropna() >= 0).all()
    assert sorted(map(str, report.measure_list)) == sorted(map(str, shuffled.measure_list))
    assert report.json()
    assert "</html>" in report.html()


def test_a_distribution_has_no_shift_against_itself_and_a_large_one_against_another() -> None:
    numbers = pd.Series([float(n % 7) for n in range(700)])
    codes = numbers.astype("str").astype("object")

    assert shift_of(numbers, numbers) == 0
    assert shift_of(codes, codes) == 0
    assert (shift_of(numbers, numbers + 5) or 0) > 1
    assert (shift_of(codes, codes.replace("1.0", "2.0")) or 0) > 0.25
    assert shift_of(numbers[:100], numbers) is None
    assert shift_of(codes, pd.Series([str(n) for n in range(700)], dtype="object")) is None
