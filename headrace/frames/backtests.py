"""Reads the CSV file of a back-test (docs/predictor.md)."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from headrace.frames.errors import BadArgument, InvalidFrame

NAMES = {"date": "date", "stadium": "venue", "race": "number", "boat": "slot"}
SLOT = ["date", "venue", "number", "slot"]
_DTYPES = {"stadium": "Int32", "race": "Int32", "boat": "Int16", "p_win": "float64", "p_top3": "float64"}
_COLUMNS = ["date", "stadium", "race", "boat", "p_win", "p_top3", "bet"]


def read_backtest(file: Path) -> pd.DataFrame:
    """Columns date, venue, number, slot, p_win, p_top3, bet. Raises BadArgument, InvalidFrame."""
    try:
        raw = pd.read_csv(file, dtype="str", keep_default_na=False)
    except OSError as error:
        raise BadArgument(
            f"cannot read {file} ({error.strerror}); `headrace backtest --out FILE.csv` writes such a file"
        ) from None
    except ValueError as error:
        raise InvalidFrame(f"{file} is not a CSV file of `headrace backtest`: {error}") from None
    missing = [name for name in _COLUMNS if name not in raw.columns]
    if missing:
        raise InvalidFrame(f"{file} is not a CSV file of `headrace backtest`: it has no column {', '.join(missing)}")
    try:
        days = pd.to_datetime(raw["date"], format="%Y-%m-%d").astype("datetime64[s]")
        typed = raw.astype(_DTYPES).assign(date=days, bet=raw["bet"] == "1")
    except ValueError as error:
        raise InvalidFrame(f"{file} is not a CSV file of `headrace backtest`: {error}") from None
    return typed[_COLUMNS].rename(columns=NAMES)


def with_results(backtest: pd.DataFrame, results: pd.DataFrame) -> pd.DataFrame:
    """Adds `won` and `win_amount`; both are missing in events without exactly one winner or without a result."""
    is_winner = (results["place"] == 1).fillna(False)
    winners = is_winner.astype("int64").groupby(results["event_key"]).transform("sum")
    decided = results.assign(won=is_winner.astype("boolean"))[(winners == 1).to_numpy()]
    return backtest.merge(decided[[*SLOT, "won", "win_amount"]], on=SLOT, how="left", validate="one_to_one")
