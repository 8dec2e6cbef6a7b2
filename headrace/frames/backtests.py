"""Reads the CSV file of a back-test (docs/predictor.md)."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from headrace.frames.errors import BadArgument, InvalidFrame

NAMES = {
    "date": "date",
    "stadium": "venue",
    "race": "number",
    "boat": "slot",
    "p_win": "p_win",
    "p_top3": "p_top3",
    "bet": "bet",
}
_DTYPES = {
    "stadium": "Int32",
    "race": "Int32",
    "boat": "Int16",
    "p_win": "float64",
    "p_top3": "float64",
    "bet": "boolean",
}


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
    missing = [name for name in NAMES if name not in raw.columns]
    if missing:
        raise InvalidFrame(f"{file} is not a CSV file of `headrace backtest`: it has no column {', '.join(missing)}")
    try:
        typed = raw.astype({name: kind for name, kind in _DTYPES.items() if name != "bet"})
        typed = typed.assign(
            date=pd.to_datetime(raw["date"], format="%Y-%m-%d").astype("datetime64[s]"), bet=raw["bet"] == "1"
        )
    except ValueError as error:
        raise InvalidFrame(f"{file} is not a CSV file of `headrace backtest`: {error}") from None
    return typed.rename(columns=NAMES)[list(NAMES.values())]
