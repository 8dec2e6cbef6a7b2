"""Runs a back-test: trains on files up to a day, then predicts the events of later days as of each event.

The file of probabilities is written first; the comparisons follow.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from headrace.backtest.archive import read_archive
from headrace.backtest.comparison import Judging
from headrace.backtest.report import Report
from headrace.backtest.request import Clock, Say, Wish
from services.predictor.backtest.walk_forward import judged_of, lines, walk
from services.predictor.data.events import EventFacts, Events, events_of
from services.predictor.data.instants import day_number
from services.predictor.data.profile import BOATRACE
from services.predictor.data.split import Split
from services.predictor.evaluation.comparison import eligible
from services.predictor.features.history import History
from services.predictor.learners.processes import side_by_side, single_thread
from services.predictor.model.ensemble import Trained
from services.predictor.training.candidate import registry_of, save
from services.predictor.training.dataset import ground_of
from services.predictor.training.hyperparameters import Training
from services.predictor.training.request import TrainingContext
from services.predictor.training.train import Made, train
from shared.errors import ConfigError


def backtest(wish: Wish, say: Say) -> Report:
    """Run the back-test; writes the file and the charts. Raises ConfigError for missing files and invalid days."""
    days = wish.check()
    single_thread()
    clock = Clock(say)
    with clock("archive read"):
        records = read_archive(wish.archive, last=wish.spans.test_to, on_problem=say)
        events = events_of(records, BOATRACE.slots)
        _must_hold_something(wish, events)
    model, made = _model(wish, records, clock)
    with clock("test span predicted"):
        history = History(BOATRACE)
        history.fold(events)
        walked = walk(model, events, history, wish.spans)
        judged = judged_of(model, walked)
        _write(wish.out, lines(walked, wish.bet_on_every_event))
    judging = Judging(
        wish, model, made, events, history, walked, judged, clock,
        lambda plan, without: _trained(wish, records, say, plan, without).model,
    )  # fmt: skip
    report = judging.report()
    return replace(report, facts={**report.facts, **days})


def _must_hold_something(wish: Wish, events: Events) -> None:
    if not len(eligible(events, wish.spans.test_from, wish.spans.test_to)):
        raise ConfigError(
            f"--archive {wish.archive}: no event of {wish.spans.test_from} to {wish.spans.test_to} has six entries and"
            " one winner, so that no prediction can be evaluated"
        )


def _model(wish: Wish, records: list[EventFacts], clock: Clock) -> tuple[Trained, Made | None]:
    if wish.model is not None:
        model = registry_of(wish.models_dir).load(wish.model)
        if model.description.validation_last >= str(wish.spans.test_from):
            raise ConfigError(
                f"model {wish.model} was fitted on days up to {model.description.validation_last}: expected a later"
                f" --test-from than {wish.spans.test_from}"
            )
        return model, None
    with clock("model trained"):
        made = _trained(wish, records, clock.say, wish.training)
    if wish.save_model:
        clock.say(f"saved as {save(registry_of(wish.models_dir), made, 'headrace backtest')}, a candidate")
    return made.model, made


def _trained(
    wish: Wish, records: list[EventFacts], say: Say, training: Training | None, without: tuple[str, ...] = ()
) -> Made:
    """Train on the records up to the validation days only: later records must not even define which measures exist."""
    seen = events_of([each for each in records if each.day <= day_number(wish.spans.validate_to)], BOATRACE.slots)
    split = Split(wish.spans.train_to, wish.spans.validate_to)
    context = TrainingContext(say, executor=side_by_side(wish.workers))
    return train(ground_of(seen, BOATRACE, split, without), wish.seed, context, training)


def _write(file: Path, rows: Iterator[str]) -> None:
    """Write the file atomically."""
    part = file.with_name(f".{file.name}.part")
    try:
        with part.open("w", encoding="ascii", newline="\n") as opened:
            opened.writelines(f"{row}\n" for row in rows)
        part.replace(file)
    finally:
        part.unlink(missing_ok=True)
