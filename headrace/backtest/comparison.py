"""Compares the model of a back-test with baselines, with its own members and with betting policies."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from importlib.util import find_spec

import numpy as np

from headrace.backtest.report import Report, coverage_of, facts_of, worth_notes
from headrace.backtest.request import Clock, Wish
from services.predictor.backtest import baselines
from services.predictor.backtest.baselines import Lessons, fit_rivals, left_out
from services.predictor.backtest.member_contributions import KINDS, alone, scores_of, share_rows
from services.predictor.backtest.walk_forward import Walked, carded, opinion_of, states
from services.predictor.data.events import Events
from services.predictor.data.instants import day_number
from services.predictor.data.targets import targets_of
from services.predictor.evaluation.bootstrap import Interval
from services.predictor.evaluation.comparison import (
    Judged,
    Opinion,
    difference_table,
    eligible,
    month_table,
    quality_table,
)
from services.predictor.evaluation.tables import Cell
from services.predictor.features.history import History
from services.predictor.features.inputs import inputs_of, observed_in
from services.predictor.learners.boosting.fit import BoostingOptions
from services.predictor.learners.processes import side_by_side
from services.predictor.learners.serial import Run
from services.predictor.model.ensemble import Trained
from services.predictor.policy import comparison as policies
from services.predictor.policy.comparison import as_known
from services.predictor.policy.context import Scene
from services.predictor.policy.evaluate import Row, returns_table
from services.predictor.policy.hyperparameters import Learning
from services.predictor.training.figures import BacktestShown, backtest_pictures
from services.predictor.training.hyperparameters import Training, training_for
from services.predictor.training.train import Made

MODEL, CARD_ONLY, WITHOUT_HISTORY = "model", "model, card only", "model, without history"
Train = Callable[[Training, tuple[str, ...]], Trained]
"""Trains a model on the same days with this configuration, with the named feature groups unknown."""


@dataclass(frozen=True)
class Judging:
    """All comparisons, on the evaluated events of the test span."""

    wish: Wish
    model: Trained
    made: Made | None
    events: Events
    history: History
    walked: Walked
    judged: Judged
    clock: Clock
    train: Train

    def report(self) -> Report:
        notes: list[str] = []
        boosts = find_spec("lightgbm") is not None
        if not boosts:
            notes.append("LightGBM is not installed (extra dev): the boosting baseline is left out")
        ours = {MODEL: opinion_of(self.walked.told, self.walked.rows)}
        with self.clock("card-only and member predictions computed"):
            ours[CARD_ONLY] = opinion_of(carded(self.model, self.walked, self.history))
            shares = self._shares()
        ours |= self._without_history(notes)
        lessons = self._lessons() if self.wish.references else None
        others = {} if lessons is None else self._references(lessons, boosts)
        with self.clock("policies compared"):
            policy = self._policies(lessons if boosts else None)
        opinions = {**others, **ours}
        seed = self.wish.seed
        shown = [name for name in (baselines.BASE, baselines.LOGIT, baselines.BOOSTING) if name in others]
        months = month_table(self.judged, {MODEL: ours[MODEL], **{name: others[name] for name in shown}}, MODEL, seed)
        differences = difference_table(self.judged, opinions, MODEL, seed)
        with self.clock("charts drawn"):
            drawn = BacktestShown(self.judged, ours[MODEL], months, self._costs(ours, shares), policy)
            pictures = backtest_pictures(drawn, self.made, self.wish.pictures, MODEL)
        return Report(
            facts=facts_of(self.wish.spans, self.model, self.judged),
            coverage=coverage_of(self.walked, states(self.walked)),
            quality=quality_table(self.judged, opinions),
            differences=differences,
            months=months,
            shares=shares,
            policy=policy,
            notes=[*notes, *worth_notes(differences, WITHOUT_HISTORY)],
            pictures=[str(path) for path in pictures],
            seconds=self.clock.seconds,
        )

    def _shares(self) -> list[dict[str, Cell]]:
        """The contributions of members, by state of knowledge. A kind of members alone is calibrated on the validation
        days, like the whole model."""
        spans, rows = self.wish.spans, list[dict[str, Cell]]()
        chosen = self.events[eligible(self.events, spans.train_to, spans.validate_to)]
        chosen = chosen[chosen.day > day_number(spans.train_to)]
        for state, at in states(self.walked).items():
            inputs = inputs_of(chosen, self.history, self.model.description.encoding, state)
            known = np.flatnonzero(observed_in(inputs) | (state == "card"))
            inputs, winner = inputs[known], chosen.winner[known]
            learned = scores_of(self.model, inputs, state)
            found = {kind: alone(self.model, state, kind, learned, inputs, winner) for kind in KINDS}
            part = self.walked.rows[at]
            judged = Judged.of(self.walked.events[part], self.model.description.terciles)
            told = self.walked.told.win[part]
            rows += share_rows(self.model, state, judged, self.walked.seen[part], told, found, self.wish.seed)
        return rows

    def _without_history(self, notes: list[str]) -> dict[str, Opinion]:
        """The forecast of a model that is trained again with all history features unknown."""
        if not self.wish.ablation or self.wish.model is not None:
            notes.append("The value of history was not measured: it requires a second training.")
            return {}
        count = self.model.description.events
        plan = replace(self.wish.training or training_for(count), policy=None)
        with self.clock("model without history trained"):
            bare = self.train(plan, ("history",))
        seen = self.walked.seen[self.walked.rows].without(bare.description.encoding, "history")
        return {WITHOUT_HISTORY: opinion_of(bare.probabilities(seen))}

    def _lessons(self) -> Lessons:
        spans = self.wish.spans
        events = self.events[eligible(self.events, date.min, spans.validate_to)]
        inputs = inputs_of(events, self.history, self.model.description.encoding, "observation")
        trains = events.day <= day_number(spans.train_to)
        targets = targets_of(events, self.model.description.terciles)
        rows = np.flatnonzero(trains), np.flatnonzero(~trains)
        return Lessons(events, inputs, targets, self.model.description.encoding, *rows)

    def _references(self, lessons: Lessons, boosts: bool) -> dict[str, Opinion]:
        with self.clock("baselines trained"):
            found = fit_rivals(lessons, self.wish.seed, self._boosting if boosts else None, self._run)
        return found.opinions(self.walked.seen[self.walked.rows])

    def _policies(self, lessons: Lessons | None) -> list[Row]:
        """Policies that learn from history need LightGBM, because they must train on out-of-fold win probabilities."""
        decided, scene, seed = self.walked.decided_on, self.walked.scene[self.walked.rows], self.wish.seed
        chosen = policies.choices(decided, scene, seed)
        if lessons is not None:
            history = policies.History(self._learned_scene(lessons), as_known(lessons.events[lessons.training]))
            chosen |= policies.learned_choices(scene, history, Learning().payout_quantile)
        return returns_table(next(iter(chosen)), chosen, as_known(self.judged.events), self.judged.clusters)

    def _learned_scene(self, lessons: Lessons) -> Scene:
        inputs = lessons.inputs[lessons.training]
        told = self.model.probabilities(inputs)
        return self.model.scene(inputs, replace(told, win=left_out(lessons, self.wish.seed, self._boosting, self._run)))

    @property
    def _boosting(self) -> BoostingOptions:
        return self.wish.training.boosting if self.wish.training else BoostingOptions()

    @property
    def _run(self) -> Run:
        """Runs fits in parallel processes. The results do not depend on their number."""
        return side_by_side(self.wish.workers)

    def _costs(self, ours: Mapping[str, Opinion], shares: Sequence[Mapping[str, Cell]]) -> dict[str, Interval]:
        """For the chart: by part that is left out, the log-loss without it minus that of the whole model."""
        win, seed = ours[MODEL].win, self.wish.seed
        said = {"observation (card only)": CARD_ONLY, "history (trained without)": WITHOUT_HISTORY}
        found = {
            label: self.judged.difference(ours[name].win, win, seed) for label, name in said.items() if name in ours
        }
        left_out = {"networks alone": "trees (networks alone)", "trees alone": "networks (trees alone)"}
        for row in shares:
            name, cell = left_out.get(str(row["member"])), row.get("gain of the whole")
            if name is not None and isinstance(cell, Interval) and row["state"] == "observation":
                found[name] = cell
        return found
