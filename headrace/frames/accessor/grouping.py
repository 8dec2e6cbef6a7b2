"""Figures of a back-test by groups of events."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pandas as pd

from headrace.frames.accessor.columns import require
from headrace.frames.errors import BadArgument, suggestion
from services.predictor.evaluation.bootstrap import Interval, clusters_of, mean_difference, ratio
from services.predictor.evaluation.measures import MIN_PROBABILITY

EVENT = ["date", "venue", "number"]


def by_groups(frame: pd.DataFrame, groups: Sequence[str]) -> pd.DataFrame:
    """One row per group of events; without groups one row. Needs the columns of `hr.backtest(...)`."""
    require(frame, "backtest", [*EVENT, "slot", "p_win", "bet"])
    unknown = [name for name in groups if name not in GROUPS and name not in frame.columns]
    if unknown:
        raise BadArgument(f"by: there is no group {unknown[0]!r}{suggestion(unknown[0], [*GROUPS, *EVENT])}")
    events = _events(frame)
    for name in groups:
        events[name] = GROUPS[name](events) if name in GROUPS else events[name]
    parts: list[tuple[Any, pd.DataFrame]] = (
        list(events.groupby(list(groups), observed=True)) if groups else [((), events)]
    )
    rows = [{**dict(zip(groups, _values(group), strict=True)), **_figures(part)} for group, part in parts]
    return pd.DataFrame(rows, columns=[*groups, *_FIGURES])


def _month(events: pd.DataFrame) -> Any:
    return events["date"].dt.strftime("%Y-%m")


def _favourite(events: pd.DataFrame) -> Any:
    return events["favourite"]


GROUPS: dict[str, Callable[[pd.DataFrame], Any]] = {"month": _month, "favourite": _favourite}
"""Groups besides the columns: the event's month, and the slot that the model rates highest."""
_FIGURES = (
    "events", "p_favourite", "favourite_won", "log_loss", "log_loss_low", "log_loss_high", "bets", "hits", "return",
    "return_low", "return_high",
)  # fmt: skip


def _events(frame: pd.DataFrame) -> pd.DataFrame:
    """One row per event, with NaN for what needs results that the frame lacks."""
    ordered = frame.sort_values([*EVENT, "slot"])
    grouped = ordered.groupby(EVENT, sort=True)
    best = ordered.loc[grouped["p_win"].idxmax()].set_index(EVENT)
    events = pd.DataFrame({"favourite": best["slot"], "p_favourite": best["p_win"]})
    if "won" in frame.columns:
        winner = ordered[ordered["won"].fillna(False).to_numpy(dtype=bool)].drop_duplicates(EVENT).set_index(EVENT)
        events["favourite_won"] = best["won"].astype("float64")
        events["loss"] = -np.log(np.maximum(winner["p_win"], MIN_PROBABILITY))
    else:
        events[["favourite_won", "loss"]] = np.nan
    bet = ordered[ordered["bet"].to_numpy(dtype=bool)].drop_duplicates(EVENT).set_index(EVENT)
    events["bet"] = bet["slot"].notna()
    events["returned"] = bet["win_amount"].astype("float64") / 100 if "win_amount" in frame.columns else np.nan
    return events.assign(bet=events["bet"].fillna(False).astype(bool)).reset_index()


def _figures(part: pd.DataFrame) -> dict[str, Any]:
    clusters = clusters_of(part["date"].to_numpy("datetime64[D]").astype(np.int64), part["venue"].to_numpy(np.int64))
    known = part["loss"].notna().to_numpy()
    placed = (part["bet"] & part["returned"].notna()).to_numpy(dtype=bool)
    nothing = Interval(float("nan"), float("nan"), float("nan"))
    loss = mean_difference(part["loss"].to_numpy(np.float64)[known], clusters[known]) if known.any() else nothing
    returned = part["returned"].to_numpy(np.float64)[placed]
    share = ratio(returned, np.ones(len(returned)), clusters[placed]) if placed.any() else nothing
    values = (
        len(part), part["p_favourite"].mean(), part["favourite_won"].mean(), *loss, int(part["bet"].sum()),
        int((returned > 0).sum()), *share,
    )  # fmt: skip
    return dict(zip(_FIGURES, values, strict=True))


def _values(group: Any) -> tuple[Any, ...]:
    return group if isinstance(group, tuple) else (group,)
