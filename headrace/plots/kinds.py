"""The kinds of pictures: what each one reads, and how it is drawn as a figure and as text."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import pandas as pd
from matplotlib.figure import Figure

from headrace.frames.client import Headrace
from headrace.plots import calibration, lag, losses, rates
from headrace.plots.calibration import Tables
from headrace.plots.lag import StageLag

PREDICTION_COLUMNS = ("event_key", "slot", "head", "class", "probability", "model_version", "as_of", "state")
RESULT_COLUMNS = ("event_key", "source", "date", "venue", "slot", "place", "win_amount")


@dataclass(frozen=True)
class Selection:
    """Arguments of `hr.results` and `hr.predictions`; `hours`: the length of a picture of the last hours."""

    days: Mapping[str, Any] = field(default_factory=dict)
    rows: Mapping[str, Any] = field(default_factory=dict)
    model: str | None = None
    state: str | None = None
    hours: float = 6.0


class Picture(NamedTuple):
    """A picture that can be drawn in both forms."""

    figure: Callable[[], Figure]
    text: Callable[[], Sequence[str]]


def rates_picture(hr: Headrace, selection: Selection) -> Picture:
    table = rates.rates_by_venue(_results(hr, selection, selection.days))
    return Picture(lambda: rates.rates_figure(table), lambda: rates.rates_text(table))


def calibration_picture(hr: Headrace, selection: Selection) -> Picture:
    results = _results(hr, selection, selection.days)
    tables: Tables = calibration.calibration_by_state(_predictions(hr, selection), results)
    return Picture(lambda: calibration.calibration_figure(tables), lambda: calibration.calibration_text(tables))


def losses_picture(hr: Headrace, selection: Selection) -> Picture:
    """Also reads earlier results, for the base rate."""
    results = _results(hr, selection, {"to_day": selection.days.get("to_day")})
    table = losses.losses_by_month(_predictions(hr, selection), results)
    return Picture(lambda: losses.losses_figure(table), lambda: losses.losses_text(table))


def lag_picture(hr: Headrace, selection: Selection) -> Picture:
    stages: list[StageLag] = lag.lags_of(hr.lag_history(selection.hours))
    return Picture(lambda: lag.lag_figure(stages), lambda: lag.lag_text(stages))


KINDS: Mapping[str, Callable[[Headrace, Selection], Picture]] = {
    "rates": rates_picture,
    "calibration": calibration_picture,
    "log-loss": losses_picture,
    "lag": lag_picture,
}
"""Each raises NothingToPlot and what frames raise."""


def _results(hr: Headrace, selection: Selection, days: Mapping[str, Any]) -> pd.DataFrame:
    return hr.results(**days, **selection.rows, columns=RESULT_COLUMNS)


def _predictions(hr: Headrace, selection: Selection) -> pd.DataFrame:
    """Of one model, also as a shadow, or of all models that were live."""
    is_shadow = False if selection.model is None else None
    return hr.predictions(
        **selection.days, **selection.rows, head="result", model_version=selection.model, state=selection.state,
        shadow=is_shadow, columns=PREDICTION_COLUMNS,
    )  # fmt: skip
