"""Frames with few rows whose figures follow by hand."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd

START = pd.Timestamp("2026-01-31 06:00", tz="UTC")


def results_of(winners: Sequence[int], day: str = "2026-01-05", venue: int = 7, **columns: Any) -> pd.DataFrame:
    """One event of three slots for each winner, all on one day at one venue; a win pays 200 for 100."""
    rows = [
        {
            "event_key": f"river:{day}:{venue:02}:{number:02}", "source": "river", "date": pd.Timestamp(day),
            "venue": venue, "slot": slot, "place": 1 if slot == winner else 2, "win_amount": 200 * (slot == winner),
        }
        for number, winner in enumerate(winners, start=1)
        for slot in (1, 2, 3)
    ]  # fmt: skip
    types = {"venue": "Int32", "slot": "Int16", "place": "Int16", "win_amount": "Int64"}
    return pd.DataFrame(rows).astype(types).assign(**columns)


def predictions_of(results: pd.DataFrame, first: float, state: str = "card", model: str = "m1") -> pd.DataFrame:
    """P(win) of slot 1 is `first`; slots 2 and 3 share the rest."""
    probability = results["slot"].map({1: first, 2: (1 - first) / 2, 3: (1 - first) / 2}).astype("float64")
    known: dict[str, Any] = {"model_version": model, "state": state, "head": "result", "class": "win", "as_of": START}
    return results[["event_key", "slot"]].assign(probability=probability, **known)


def history_of(records: Sequence[int], positions: Sequence[int], minutes: Sequence[int] = (), **columns: Any) -> Any:
    """Samples of the loader, one a minute unless `minutes` says otherwise."""
    at = [START + pd.Timedelta(minutes=minute) for minute in minutes or range(len(records))]
    fields = {"service": "loader", "topic": "clean-events", "records": records, "position": positions}
    return pd.DataFrame({"at": at, **fields, "seconds": [0.5 * each for each in records]} | columns)
