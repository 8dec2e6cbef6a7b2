"""The command `headrace backtest`."""

from __future__ import annotations

import os
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from headrace.processes.parent_death import end_with_supervisor
from headrace.remote.registry import models_dir_of
from headrace.terminal.arguments import ConfigOption, DataDirOption, Output, OutputOption, grouped_options, settings_of
from headrace.terminal.days import parse_day
from headrace.terminal.extras import require_extras
from headrace.terminal.output import print_json, print_note, print_text
from shared.errors import ConfigError

if TYPE_CHECKING:
    from headrace.backtest.request import BacktestRequest


class BetSelection(StrEnum):
    OWN = "own"
    EVERY = "every"


@dataclass(frozen=True)
class BacktestOptions:
    """The archive, the days of each span, and the comparisons to make."""

    train_to: Annotated[str, typer.Option(metavar="D", help="Last training day.")]
    validate_to: Annotated[
        str, typer.Option(metavar="D", help="Last validation day, for model choice and calibration.")
    ]
    test_from: Annotated[str, typer.Option(metavar="D", help="First day to predict.")]
    test_to: Annotated[str, typer.Option(metavar="D", help="Last day to predict; later files are not read.")]
    archive: Annotated[Path, typer.Option(metavar="DIR", help="The folder that contains v2/.")]
    out: Annotated[Path, typer.Option(metavar="FILE", help="CSV file for the probabilities: six lines per event.")]
    seed: Annotated[int, typer.Option(min=0, help="Random seed; the same seed gives the same file.")] = 7
    pictures: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Folder for the charts. [default: beside FILE]")
    ] = None
    ablation: Annotated[
        bool,
        typer.Option("--ablation/--no-ablation", help="Also train without history features, to measure their value."),
    ] = True
    references: Annotated[
        bool, typer.Option("--references/--no-references", help="Train the baselines to compare with.")
    ] = True
    model: Annotated[str | None, typer.Option(metavar="V", help="Evaluate this model instead of training one.")] = None
    models_dir: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Folder of the models. [default: models in the data directory]")
    ] = None
    save_model: Annotated[bool, typer.Option("--save-model", help="Keep the trained model, as a candidate.")] = False
    bets: Annotated[
        BetSelection,
        typer.Option(help="Content of the column bet: the policy's best bet in every event, or only its own bets."),
    ] = BetSelection.EVERY
    workers: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Parallel trainings. [default: one per core, at most four]")
    ] = None
    data_dir: DataDirOption = None
    config: ConfigOption = None
    output: OutputOption = Output.TABLE

    def request(self) -> BacktestRequest:
        """Needs the extra `predictor`. Raises ConfigError for invalid options."""
        from headrace.backtest.request import BacktestRequest  # noqa: PLC0415 - torch takes seconds to import
        from services.predictor.backtest.walk_forward import Spans  # noqa: PLC0415

        spans = Spans(
            train_to=parse_day("--train-to", self.train_to),
            validate_to=parse_day("--validate-to", self.validate_to),
            test_from=parse_day("--test-from", self.test_from),
            test_to=parse_day("--test-to", self.test_to),
        )
        if self.model is not None and self.save_model:
            raise ConfigError(
                "--save-model keeps a newly trained model, but --model trains none: leave one of them out"
            )
        return BacktestRequest(
            spans=spans,
            archive=self.archive,
            out=self.out,
            pictures=self.pictures or self.out.with_name(f"{self.out.stem}-pictures"),
            models_dir=self.models_dir or models_dir_of(settings_of(self.data_dir, None, self.config), self.config),
            seed=self.seed,
            ablation=self.ablation,
            references=self.references,
            model=self.model,
            save_model=self.save_model,
            bet_on_every_event=self.bets is BetSelection.EVERY,
            workers=self.workers,
        )


@grouped_options
def backtest(options: BacktestOptions) -> None:
    """Train on an archive up to one day, predict the events of later days, and compare. Needs no service or database.

    Each event is predicted from facts known before its start, and a result counts from the time it became known. The
    model is not retrained during the test days.
    """
    end_with_supervisor(os.environ)
    require_extras("headrace backtest", "predictor")
    from headrace.backtest.run import run_backtest as run  # noqa: PLC0415 - torch takes seconds to import

    report = run(options.request(), print_note)
    if options.output is Output.JSON:
        print_json(report.json())
    else:
        print_text(report.text())
