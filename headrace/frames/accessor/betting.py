"""Mean returns of one unit staked on each entry, by groups, with bootstrap intervals."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Any

import numpy as np
import pandas as pd

from headrace.frames.accessor.columns import require
from headrace.frames.errors import BadArgument, suggestion
from services.predictor.evaluation.bootstrap import clusters_of, ratio

STAKE = 100


def returns(frame: pd.DataFrame, by: Sequence[str], market: str) -> pd.DataFrame:
    """One row per group: bets, hits, mean return of one unit (1 returns the stake) and its interval of 95 %."""
    require(frame, "results", ["event_key", "slot", "date", "venue"])
    amount = f"{market}_amount"
    if amount not in frame.columns:
        markets = [str(name).removesuffix("_amount") for name in frame.columns if str(name).endswith("_amount")]
        raise BadArgument(f"market: the frame has no payouts of {market!r}{suggestion(market, markets)}")
    require(frame, "results", by)
    bets = frame[frame[amount].notna()]
    day = bets["date"].to_numpy("datetime64[D]").astype(np.int64)
    clusters = clusters_of(day, bets["venue"].to_numpy(np.int64))
    returned = bets[amount].to_numpy(np.float64) / STAKE
    data = pd.DataFrame({"returned": returned, "cluster": clusters}, index=bets.index)
    groups: list[tuple[Any, pd.DataFrame]] = (
        [(group, data.loc[part.index]) for group, part in bets.groupby(list(by), observed=True)] if by else [((), data)]
    )
    rows = [(*_values(group), *_figures(part)) for group, part in groups]
    result = pd.DataFrame(rows, columns=[*by, "bets", "hits", "return", "low", "high"])
    return result.astype({name: frame[name].dtype for name in by} | {"bets": "int64", "hits": "int64"})


def _values(group: Hashable) -> tuple[Any, ...]:
    return group if isinstance(group, tuple) else (group,)


def _figures(part: pd.DataFrame) -> tuple[int, int, float, float, float]:
    returned = part["returned"].to_numpy(np.float64)
    interval = ratio(returned, np.ones(len(part)), part["cluster"].to_numpy(np.int64))
    return len(part), int((returned > 0).sum()), *interval
