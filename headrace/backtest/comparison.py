"""Compares the model of a back-test with baselines, with its own members and with betting policies."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from importlib.util import find_spec

import numpy as np

from headrace.backtest.report import BacktestReport, event_coverage, history_value_notes, report_facts
from headrace.backtest.request import BacktestRequest, StageTimer
from services.predictor.backtest import baselines
from services.predictor.backtest.baselines import BaselineExamples, fit_baselines, out_of_fold_win
from services.predictor.backtest.member_contributions import KINDS, calibrate_kind, contribution_rows, scores_of
from services.predictor.backtest.walk_forward import WalkForward, card_probabilities, forecast_of, rows_by_state
from services.predictor.data.events import Events
from services.predictor.data.instants import day_number
from services.predictor.data.targets import targets_of
from services.predictor.evaluation.bootstrap import Interval
from services.predictor.evaluation.comparison import (
    EvaluationSet,
    Forecast,
    difference_table,
    eligible,
    month_table,
    quality_table,
)
from services.predictor.evaluation.tables import Cell
from services.predictor.features.history import History
from services.predictor.features.inputs import inputs_of, observed_events
from services.predictor.learners.boosting.fit import BoostingOptions
from services.predictor.learners.processes import process_executor
from services.predictor.learners.serial import Executor
from services.predictor.model.ensemble import Ensemble
from services.predictor.policy import comparison as policies
from services.predictor.policy.comparison import episodes_as_observed
from services.predictor.policy.context import PolicyContext
from services.predictor.policy.evaluate import ReturnRow, returns_table
from services.predictor.policy.hyperparameters import DqnConfig
from services.predictor.training.figures import BacktestFigures, backtest_pictures
from services.predictor.training.hyperparameters import EnsembleConfig, ensemble_config_for
from services.predictor.training.train import TrainingResult

MODEL, CARD_ONLY, WITHOUT_HISTORY = "model", "model, card only", "model, without history"
TrainWithout = Callable[[EnsembleConfig, tuple[str, ...]], Ensemble]
"""Trains a model on the same days with this configuration, with the named feature groups unknown."""


@dataclass(frozen=True)
class BacktestComparison:
    """All comparisons, on the evaluated events of the test span."""

    request: BacktestRequest
    model: Ensemble
    training_result: TrainingResult | None
    events: Events
    history: History
    predictions: WalkForward
    evaluation: EvaluationSet
    timer: StageTimer
    train: TrainWithout

    def report(self) -> BacktestReport:
        notes: list[str] = []
        has_lightgbm = find_spec("lightgbm") is not None
        if not has_lightgbm:
            notes.append("LightGBM is not installed (extra dev): the boosting baseline is left out")
        model_forecasts = {MODEL: forecast_of(self.predictions.probabilities, self.predictions.rows)}
        with self.timer("card-only and member predictions computed"):
            model_forecasts[CARD_ONLY] = forecast_of(card_probabilities(self.model, self.predictions, self.history))
            shares = self._member_contributions()
        model_forecasts |= self._forecast_without_history(notes)
        examples = self._examples() if self.request.references else None
        baseline_forecasts = {} if examples is None else self._baseline_forecasts(examples, has_lightgbm)
        with self.timer("policies compared"):
            policy = self._policy_returns(examples if has_lightgbm else None)
        forecasts = {**baseline_forecasts, **model_forecasts}
        seed = self.request.seed
        monthly_baselines = [
            name for name in (baselines.BASE, baselines.LOGIT, baselines.BOOSTING) if name in baseline_forecasts
        ]
        months = month_table(
            self.evaluation,
            {MODEL: model_forecasts[MODEL], **{name: baseline_forecasts[name] for name in monthly_baselines}},
            MODEL,
            seed,
        )
        differences = difference_table(self.evaluation, forecasts, MODEL, seed)
        with self.timer("charts drawn"):
            chart_data = BacktestFigures(
                self.evaluation, model_forecasts[MODEL], months, self._ablation_costs(model_forecasts, shares), policy
            )
            pictures = backtest_pictures(chart_data, self.training_result, self.request.pictures, MODEL)
        return BacktestReport(
            facts=report_facts(self.request.spans, self.model, self.evaluation),
            coverage=event_coverage(self.predictions, rows_by_state(self.predictions)),
            quality=quality_table(self.evaluation, forecasts),
            differences=differences,
            months=months,
            shares=shares,
            policy=policy,
            notes=[*notes, *history_value_notes(differences, WITHOUT_HISTORY)],
            pictures=[str(path) for path in pictures],
            seconds=self.timer.seconds,
        )

    def _member_contributions(self) -> list[dict[str, Cell]]:
        """The contributions of members, by state of knowledge. A kind of members alone is calibrated on the validation
        days, like the whole model."""
        spans, rows = self.request.spans, list[dict[str, Cell]]()
        events = self.events[eligible(self.events, spans.train_to, spans.validate_to)]
        events = events[events.day > day_number(spans.train_to)]
        for state, at in rows_by_state(self.predictions).items():
            inputs = inputs_of(events, self.history, self.model.description.encoding, state)
            usable = np.flatnonzero(observed_events(inputs) | (state == "card"))
            inputs, winner = inputs[usable], events.winner[usable]
            scores = scores_of(self.model, inputs, state)
            by_kind = {kind: calibrate_kind(self.model, state, kind, scores, inputs, winner) for kind in KINDS}
            part = self.predictions.rows[at]
            evaluation = EvaluationSet.of(self.predictions.events[part], self.model.description.terciles)
            probabilities = self.predictions.probabilities.win[part]
            rows += contribution_rows(
                self.model, state, evaluation, self.predictions.inputs[part], probabilities, by_kind, self.request.seed
            )
        return rows

    def _forecast_without_history(self, notes: list[str]) -> dict[str, Forecast]:
        """The forecast of a model that is trained again with all history features unknown."""
        if not self.request.ablation or self.request.model is not None:
            notes.append("The value of history was not measured: it requires a second training.")
            return {}
        count = self.model.description.events
        plan = replace(self.request.training or ensemble_config_for(count), policy=None)
        with self.timer("model without history trained"):
            model = self.train(plan, ("history",))
        inputs = self.predictions.inputs[self.predictions.rows].without_group(model.description.encoding, "history")
        return {WITHOUT_HISTORY: forecast_of(model.probabilities(inputs))}

    def _examples(self) -> BaselineExamples:
        spans = self.request.spans
        events = self.events[eligible(self.events, date.min, spans.validate_to)]
        inputs = inputs_of(events, self.history, self.model.description.encoding, "observation")
        in_training = events.day <= day_number(spans.train_to)
        targets = targets_of(events, self.model.description.terciles)
        rows = np.flatnonzero(in_training), np.flatnonzero(~in_training)
        return BaselineExamples(events, inputs, targets, self.model.description.encoding, *rows)

    def _baseline_forecasts(self, examples: BaselineExamples, has_lightgbm: bool) -> dict[str, Forecast]:
        with self.timer("baselines trained"):
            fitted = fit_baselines(
                examples, self.request.seed, self._boosting if has_lightgbm else None, self._executor
            )
        return fitted.forecasts(self.predictions.inputs[self.predictions.rows])

    def _policy_returns(self, examples: BaselineExamples | None) -> list[ReturnRow]:
        """Policies that learn from history need LightGBM, because they must train on out-of-fold win probabilities."""
        decisions, context, seed = (
            self.predictions.evaluated_decisions,
            self.predictions.context[self.predictions.rows],
            self.request.seed,
        )
        choices = policies.choices(decisions, context, seed)
        if examples is not None:
            history = policies.PolicyTrainingData(
                self._training_context(examples), episodes_as_observed(examples.events[examples.training])
            )
            choices |= policies.learned_choices(context, history, DqnConfig().payout_quantile)
        return returns_table(
            next(iter(choices)), choices, episodes_as_observed(self.evaluation.events), self.evaluation.clusters
        )

    def _training_context(self, examples: BaselineExamples) -> PolicyContext:
        inputs = examples.inputs[examples.training]
        probabilities = self.model.probabilities(inputs)
        return self.model.policy_context(
            inputs,
            replace(probabilities, win=out_of_fold_win(examples, self.request.seed, self._boosting, self._executor)),
        )

    @property
    def _boosting(self) -> BoostingOptions:
        return self.request.training.boosting if self.request.training else BoostingOptions()

    @property
    def _executor(self) -> Executor:
        """Runs fits in parallel processes. The results do not depend on their number."""
        return process_executor(self.request.workers)

    def _ablation_costs(
        self, model_forecasts: Mapping[str, Forecast], shares: Sequence[Mapping[str, Cell]]
    ) -> dict[str, Interval]:
        """For the chart: by part that is left out, the log-loss without it minus that of the whole model."""
        win, seed = model_forecasts[MODEL].win, self.request.seed
        labels = {"observation (card only)": CARD_ONLY, "history (trained without)": WITHOUT_HISTORY}
        costs = {
            label: self.evaluation.difference(model_forecasts[name].win, win, seed)
            for label, name in labels.items()
            if name in model_forecasts
        }
        labels_by_member = {"networks alone": "trees (networks alone)", "trees alone": "networks (trees alone)"}
        for row in shares:
            name, cell = labels_by_member.get(str(row["member"])), row.get("gain of the whole")
            if name is not None and isinstance(cell, Interval) and row["state"] == "observation":
                costs[name] = cell
        return costs
