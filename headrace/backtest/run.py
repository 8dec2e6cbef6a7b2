"""Runs a back-test: trains on files up to a day, then predicts the events of later days as of each event.

The file of probabilities is written first; the comparisons follow.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from headrace.backtest.archive import read_archive
from headrace.backtest.comparison import BacktestComparison
from headrace.backtest.report import BacktestReport
from headrace.backtest.request import BacktestRequest, ReportProgress, StageTimer
from services.predictor.backtest.walk_forward import csv_lines, evaluation_set_of, walk_forward
from services.predictor.data.events import EventFacts, Events, events_of
from services.predictor.data.instants import day_number
from services.predictor.data.profile import BOATRACE
from services.predictor.data.split import Split
from services.predictor.evaluation.comparison import eligible
from services.predictor.features.history import History
from services.predictor.learners.processes import process_executor, use_single_thread
from services.predictor.model.ensemble import Ensemble
from services.predictor.training.candidate import registry_of, save
from services.predictor.training.dataset import training_set_of
from services.predictor.training.hyperparameters import EnsembleConfig
from services.predictor.training.request import TrainingContext
from services.predictor.training.train import TrainingResult, train
from shared.errors import ConfigError


def run_backtest(request: BacktestRequest, say: ReportProgress) -> BacktestReport:
    """Run the back-test; writes the file and the charts. Raises ConfigError for missing files and invalid days."""
    days = request.validate()
    use_single_thread()
    timer = StageTimer(say)
    with timer("archive read"):
        records = read_archive(request.archive, last=request.spans.test_to, on_problem=say)
        events = events_of(records, BOATRACE.slots)
        _require_events(request, events)
    model, training_result = _load_or_train(request, records, timer)
    with timer("test span predicted"):
        history = History(BOATRACE)
        history.fold(events)
        predictions = walk_forward(model, events, history, request.spans)
        evaluation = evaluation_set_of(model, predictions)
        _write_atomically(request.out, csv_lines(predictions, request.bet_on_every_event))
    comparison = BacktestComparison(
        request, model, training_result, events, history, predictions, evaluation, timer,
        lambda plan, without: _train(request, records, say, plan, without).model,
    )  # fmt: skip
    report = comparison.report()
    return replace(report, facts={**report.facts, **days})


def _require_events(request: BacktestRequest, events: Events) -> None:
    first, last = request.spans.test_from, request.spans.test_to
    if not len(eligible(events, first, last)):
        raise ConfigError(
            f"--archive {request.archive}: no event of {first} to {last} has six entries"
            " and one winner, so that no prediction can be evaluated"
        )


def _load_or_train(
    request: BacktestRequest, records: list[EventFacts], timer: StageTimer
) -> tuple[Ensemble, TrainingResult | None]:
    if request.model is not None:
        model = registry_of(request.models_dir).load(request.model)
        if model.description.validation_last >= str(request.spans.test_from):
            raise ConfigError(
                f"model {request.model} was fitted on days up to {model.description.validation_last}: expected a later"
                f" --test-from than {request.spans.test_from}"
            )
        return model, None
    with timer("model trained"):
        training_result = _train(request, records, timer.say, request.training)
    if request.save_model:
        timer.say(
            f"saved as {save(registry_of(request.models_dir), training_result, 'headrace backtest')}, a candidate"
        )
    return training_result.model, training_result


def _train(
    request: BacktestRequest,
    records: list[EventFacts],
    say: ReportProgress,
    training: EnsembleConfig | None,
    without: tuple[str, ...] = (),
) -> TrainingResult:
    """Train on the records up to the validation days only: later records must not even define which measures exist."""
    events = events_of([each for each in records if each.day <= day_number(request.spans.validate_to)], BOATRACE.slots)
    split = Split(request.spans.train_to, request.spans.validate_to)
    context = TrainingContext(say, executor=process_executor(request.workers))
    return train(training_set_of(events, BOATRACE, split, without), request.seed, context, training)


def _write_atomically(file: Path, rows: Iterator[str]) -> None:
    """Write the file atomically."""
    partial = file.with_name(f".{file.name}.part")
    try:
        with partial.open("w", encoding="ascii", newline="\n") as out:
            out.writelines(f"{row}\n" for row in rows)
        partial.replace(file)
    finally:
        partial.unlink(missing_ok=True)
