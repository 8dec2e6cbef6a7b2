"""What later documents changed or lacked, and when facts became known."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pandas as pd

from headrace.quality.dataset import Dataset
from headrace.quality.measure import Measure, first_of, share

_SLOT = re.compile(r"^(entries|outcomes)\.[^.]+\.(?:measures\.|categories\.|entity\.(?:categories\.)?)?(.+)$")
_CONDITIONS = {"observed": "events.observed_conditions.", "settled": "events.conditions."}


def field_of(kind: str, path: str) -> str:
    """The field of a change, named as in the other measures: `entries.3.measures.weight_kg` of a card is
    `entries.weight_kg`. `path` is that of the fact's tree (services/loader/fact_tree.py)."""
    if path.startswith("transactions."):
        return "transactions.amount"
    if path.startswith("conditions."):
        return f"{_CONDITIONS.get(kind, 'events.conditions.')}{path.removeprefix('conditions.')}"
    if path.startswith("session."):
        return f"sessions.{path.removeprefix('session.')}"
    match = _SLOT.match(path)
    if not match:
        return f"events.{path}"
    table = "observations" if match[1] == "entries" and kind == "observed" else match[1]
    return f"{table}.{match[2]}"


def measure_corrections(data: Dataset) -> Iterator[Measure]:
    """`corrected`: the share of events with a corrected value, and of the values of each field.

    `correction_delay_median`, `correction_delay_p90`: seconds from the first fact of that kind to the correction.
    """
    yield from _shares(data, "corrected", data.corrections)
    changes = data.corrections
    if not len(changes):
        return
    first_known = data.first_known.reset_index().melt("event_key", var_name="kind", value_name="first_at")
    first_known["first_at"] = first_known["first_at"].astype("datetime64[us, UTC]")  # without rows, it is an object
    times = changes.assign(of_field=_fields(changes)).merge(first_known, on=["event_key", "kind"])
    times["delay_s"] = (times["known_at"] - times["first_at"]).dt.total_seconds()
    for field, delays in [("all", times["delay_s"]), *times.groupby("of_field")["delay_s"]]:
        if len(delays):
            for name, part in (("median", 0.5), ("p90", 0.9)):
                value = float(delays.quantile(part))
                yield Measure(f"correction_delay_{name}", str(field), value, "s", total=len(delays))


def measure_regressions(data: Dataset) -> Iterator[Measure]:
    """`regressed`: the share of events of which a later document lacked a value, and of the values of each field."""
    yield from _shares(data, "regressed", data.regressions)


def _shares(data: Dataset, measure: str, changes: pd.DataFrame) -> Iterator[Measure]:
    events = len(data.events.frame)
    if not events:
        return
    keys = changes["event_key"].drop_duplicates()
    yield share(measure, "events", len(keys), events, examples=keys)
    sizes = {"transactions": len(data.transactions)} | {table.name: len(table.frame) for table in data.tables}
    places = changes.assign(of_field=_fields(changes)).drop_duplicates(["event_key", "kind", "field"])
    for field, rows in places.groupby("of_field"):
        # Of a value that was withdrawn, there is no row any more.
        total = max(sizes.get(str(field).split(".", 1)[0], 0), len(rows))
        yield share(measure, str(field), len(rows), total, examples=rows["event_key"].drop_duplicates())


def _fields(changes: pd.DataFrame) -> pd.Series[Any]:
    pairs = zip(changes["kind"], changes["field"], strict=True)
    return pd.Series([field_of(kind, path) for kind, path in pairs], index=changes.index, dtype="object")


# Kinds that cannot be known before the event.
_RESULTS = ("settled", "final")


def measure_timeliness(data: Dataset) -> Iterator[Measure]:
    """`late`: the share of events whose card, observation or lanes (`measured`) became known after the start.

    `delay_median`, `delay_p90` and `delay_max`: seconds from the start of the event until each was known first;
    negative is before. `final`: until the last change of the result.
    """
    events = data.events.frame.set_index("event_key")
    times = {kind: data.first_known[kind].reindex(events.index) for kind in data.first_known.columns}
    times["final"] = events["settled_at"].where(events["is_settled"])
    for kind, known in times.items():
        delays = (known - events["scheduled_at"]).dt.total_seconds().dropna()
        if not len(delays):
            continue
        if kind not in _RESULTS:
            late = delays[delays > 0]
            yield share("late", kind, len(late), len(delays), examples=late.index)
        slowest = first_of(delays.index[delays == delays.max()])
        yield Measure("delay_median", kind, float(delays.median()), "s", total=len(delays))
        yield Measure("delay_p90", kind, float(delays.quantile(0.9)), "s", total=len(delays))
        yield Measure("delay_max", kind, float(delays.max()), "s", total=len(delays), examples=slowest)
