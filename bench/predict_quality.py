"""References trained on the very features of the model, and all of them judged on the same events."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from services.predictor.facts import Bools, Events, Floats, Floats32, Ints
from services.predictor.features.encoding import Encoding
from services.predictor.features.inputs import Inputs
from services.predictor.judge.measures import log_loss
from services.predictor.judge.paired import clusters_of, paired
from services.predictor.judge.quality import result_quality
from services.predictor.judge.tables import Cell
from services.predictor.references.base import slot_rates
from services.predictor.references.boosting import Boosting, BoostingOptions, fit_boosting
from services.predictor.references.logit import fit_logit

BASE, BOOSTING = "slot base rate", "LightGBM softmax"
GROUPS = {
    "conditional logit, card": ("card",),
    "conditional logit, + observation": ("card", "observation"),
    "conditional logit, + history": ("card", "observation", "history"),
}


@dataclass(frozen=True)
class Course:
    """What is learnt from and what is judged: rows of `events`, each with all slots taken and one winner."""

    events: Events
    winner: Ints
    training: Ints
    judged: Ints

    @classmethod
    def of(cls, events: Events, train_to_day: int) -> Course:
        """Trained up to and with that day, judged on all that come later."""
        eligible = events.has_winner & events.taken.all(axis=1)
        trains = events.day <= train_to_day
        winner = np.where(eligible, events.winner, -1)
        return cls(events, winner, np.flatnonzero(eligible & trains), np.flatnonzero(eligible & ~trains))

    @property
    def clusters(self) -> Ints:
        return clusters_of(self.events.day[self.judged], self.events.venue[self.judged])


def references(
    course: Course, inputs: Inputs, encoding: Encoding, seed: int, most_trees: int, log: Callable[[str], None]
) -> tuple[dict[str, Floats], Boosting]:
    """Name -> P(win) (judged, S) of each reference, and the boosted trees for their speed.

    Penalties and the number of trees are chosen on the judged month itself, which can only flatter the references.
    """
    events, training, judged = course.events, course.training, course.judged
    taken = events.taken
    rates = slot_rates(taken[training], events.place[training], course.winner[training])
    found = {BASE: rates.probabilities(taken[judged])}
    for name, groups in GROUPS.items():
        started = time.perf_counter()
        columns = np.flatnonzero(np.isin(encoding.entry_groups, groups))
        logit = fit_logit(inputs.entry, taken, course.winner, columns, training, judged)
        found[name] = logit.probabilities(inputs.entry[judged], taken[judged])
        log(f"{name}: {len(columns)} features, {time.perf_counter() - started:.0f} s")
    started = time.perf_counter()
    wide, options = widened(inputs), BoostingOptions(most_trees=most_trees)
    boosting = fit_boosting(
        wide, taken, course.winner, training, judged, seed, options,
        lambda trees, loss: log(f"{BOOSTING}: {trees} trees, {loss:.4f}") if trees % 100 == 0 else None,
    )  # fmt: skip
    found[BOOSTING] = boosting.probabilities(wide[judged], taken[judged])
    log(f"{BOOSTING}: {len(boosting.trees)} trees, {time.perf_counter() - started:.0f} s")
    return found, boosting


def widened(inputs: Inputs) -> Floats32:
    """(n, S, F + E): a tree over one entry must be told of its event as well."""
    shape = (*inputs.taken.shape, inputs.event.shape[1])
    return np.concatenate([inputs.entry, np.broadcast_to(inputs.event[:, None], shape)], axis=2)


def quality_rows(course: Course, told: Mapping[str, Floats], against: str, seed: int) -> list[dict[str, Cell]]:
    """A line for each; the last column is by how much the log-loss of `against` is lower (negative: it is better)."""
    winner, taken = course.winner[course.judged], course.events.taken[course.judged]
    mine = log_loss(told[against], winner)
    rows: list[dict[str, Cell]] = []
    for name, win in told.items():
        row: dict[str, Cell] = {"model": name}
        row |= {figure: value for figure, value in result_quality(win, taken, winner).items() if figure != "events"}
        if name != against:
            row[f"{against} minus this"] = paired(mine - log_loss(win, winner), course.clusters, seed=seed)
        rows.append(row)
    return rows


def complete(win: Floats, taken: Bools) -> bool:
    """Every event has probabilities that sum to one over its taken slots."""
    return bool(np.allclose(win.sum(axis=1), 1, atol=1e-9) and not win[~taken].any())
