"""Compares forecasts of the same events."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from typing import NamedTuple

import numpy as np

from services.predictor.data.events import Events, Floats, Ints
from services.predictor.data.instants import day_number, day_of
from services.predictor.data.targets import Targets, Terciles, targets_of
from services.predictor.evaluation.bootstrap import Interval, clusters_of, mean_difference
from services.predictor.evaluation.measures import log_loss
from services.predictor.evaluation.quality import class_quality, result_quality, top3_quality
from services.predictor.evaluation.tables import Cell


class Forecast(NamedTuple):
    """Probabilities of n events: win (n, S), top3 (n, S), trend (n, 3), behaviour (n, S, 3). None: not forecast."""

    win: Floats
    top3: Floats | None = None
    trend: Floats | None = None
    behaviour: Floats | None = None


@dataclass(frozen=True)
class EvaluationSet:
    """n events with all slots occupied and one winner, and their targets. `clusters`: one number per day and venue."""

    events: Events
    targets: Targets
    clusters: Ints

    @classmethod
    def of(cls, events: Events, terciles: Terciles) -> EvaluationSet:
        return cls(events, targets_of(events, terciles), clusters_of(events.day, events.venue))

    def losses(self, win: Floats) -> Floats:
        """(n,) nats"""
        return log_loss(win, self.targets.winner)

    def difference(self, first: Floats, second: Floats, seed: int) -> Interval:
        """Log-loss of the first P(win) minus that of the second; negative if the first is better."""
        return mean_difference(self.losses(first) - self.losses(second), self.clusters, seed=seed)

    def months(self) -> Iterator[tuple[str, Ints]]:
        """Each month (`2026-04`) with the rows of its events, in their order."""
        names = np.array([f"{day_of(day):%Y-%m}" for day in self.events.day.tolist()], dtype="U7")
        for name in np.unique(names).tolist():
            yield name, np.flatnonzero(names == name)


def eligible(events: Events, first: date, last: date) -> Ints:
    """Rows of the events of these days (inclusive) that can be evaluated: all slots occupied and one winner."""
    days = (events.day >= day_number(first)) & (events.day <= day_number(last))
    return np.flatnonzero(days & events.has_winner & events.occupied.all(axis=1))


def figures_of(forecast: Forecast, events: Events, targets: Targets, behaviour: str = "behaviour") -> dict[str, float]:
    """All figures that the forecast allows. `behaviour`: name of that head in the keys."""
    figures = result_quality(forecast.win, events.occupied, targets.winner)
    if forecast.top3 is not None:
        figures |= top3_quality(forecast.top3, events.occupied, events.place)
    if forecast.trend is not None:
        figures |= class_quality("trend", forecast.trend, targets.trend)
    if forecast.behaviour is not None:
        figures |= class_quality(behaviour, forecast.behaviour, targets.behaviour)
    return figures


def quality_row(evaluation: EvaluationSet, forecast: Forecast) -> dict[str, float]:
    """Figures for a table over the same events: without the number of events."""
    figures = figures_of(forecast, evaluation.events, evaluation.targets, "start_class")
    del figures["events"]
    return figures


def quality_table(evaluation: EvaluationSet, forecasts: Mapping[str, Forecast]) -> list[dict[str, Cell]]:
    """One row per forecast."""
    return [{"model": name, **quality_row(evaluation, forecast)} for name, forecast in forecasts.items()]


def difference_table(
    evaluation: EvaluationSet, forecasts: Mapping[str, Forecast], against: str, seed: int
) -> list[dict[str, Cell]]:
    """Log-loss of `against` minus that of each other forecast, on the same events."""
    reference = forecasts[against].win
    return [
        {
            "log-loss of": against,
            "less that of": name,
            "difference": evaluation.difference(reference, forecast.win, seed),
        }
        for name, forecast in forecasts.items()
        if name != against
    ]


def month_table(
    evaluation: EvaluationSet, forecasts: Mapping[str, Forecast], against: str, seed: int
) -> list[dict[str, Cell]]:
    """Log-loss by month: of `against` with an interval, of the others without."""
    losses = {name: evaluation.losses(forecast.win) for name, forecast in forecasts.items()}
    rows: list[dict[str, Cell]] = []
    for month, at in evaluation.months():
        row: dict[str, Cell] = {"month": month, "events": len(at)}
        row[against] = mean_difference(losses[against][at], evaluation.clusters[at], seed=seed)
        row |= {name: float(loss[at].mean()) for name, loss in losses.items() if name != against}
        rows.append(row)
    return rows


def is_complete(win: Floats, events: Events) -> bool:
    """Whether every event has probabilities that sum to 1 over its occupied slots."""
    return bool(np.allclose(win.sum(axis=1), 1, atol=1e-9) and not win[~events.occupied].any())
