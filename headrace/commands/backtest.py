"""headrace backtest."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from headrace.processes.parent_death import end_with_supervisor
from headrace.remote.registry import models_dir_of
from headrace.terminal.arguments import ConfigOption, DataDirOption, Output, OutputOption, grouped_options, settings_of
from headrace.terminal.days import day
from headrace.terminal.output import note, print_json
from headrace.terminal.predictor_extra import require
from shared.errors import ConfigError

if TYPE_CHECKING:
    from headrace.backtest.request import Wish


class Bets(StrEnum):
    OWN = "own"
    EVERY = "every"


@dataclass(frozen=True)
class BacktestOptions:
    """What is trained on which days of which archive, and what it is compared with."""

    train_to: Annotated[str, typer.Option(metavar="D", help="Last day to learn from.")]
    validate_to: Annotated[str, typer.Option(metavar="D", help="Last day to choose and calibrate by.")]
    test_from: Annotated[str, typer.Option(metavar="D", help="First day to tell.")]
    test_to: Annotated[str, typer.Option(metavar="D", help="Last day to tell; nothing after it is read.")]
    archive: Annotated[Path, typer.Option(metavar="DIR", help="The folder that holds v2/.")]
    out: Annotated[Path, typer.Option(metavar="FILE", help="The probabilities, as CSV: six lines an event.")]
    seed: Annotated[int, typer.Option(min=0, help="Of everything that is drawn; the same one, the same file.")] = 7
    pictures: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Where pictures go. [default: a folder beside FILE]")
    ] = None
    ablation: Annotated[
        bool, typer.Option("--ablation/--no-ablation", help="Train again without history, to tell what it is worth.")
    ] = True
    references: Annotated[
        bool, typer.Option("--references/--no-references", help="Train what the model is compared with.")
    ] = True
    model: Annotated[str | None, typer.Option(metavar="V", help="Judge this model, which is there; train none.")] = None
    models_dir: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Where models lie. [default: models in the data directory]")
    ] = None
    save_model: Annotated[bool, typer.Option("--save-model", help="Keep the trained model, as a candidate.")] = False
    bets: Annotated[
        Bets,
        typer.Option(help="What the column bet holds: what the policy backs best in every event, or its own choice."),
    ] = Bets.EVERY
    workers: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Trainings side by side. [default: one a core, at most four]")
    ] = None
    data_dir: DataDirOption = None
    config: ConfigOption = None
    output: OutputOption = Output.TABLE

    def request(self) -> Wish:
        """Needs the extra `predictor`. Raises ConfigError."""
        from headrace.backtest.request import Wish  # noqa: PLC0415 - torch takes seconds to import
        from services.predictor.backtest.walk_forward import Spans  # noqa: PLC0415

        spans = Spans(
            train_to=day("--train-to", self.train_to),
            validate_to=day("--validate-to", self.validate_to),
            test_from=day("--test-from", self.test_from),
            test_to=day("--test-to", self.test_to),
        )
        if self.model is not None and self.save_model:
            raise ConfigError("--save-model keeps a model that is trained here; --model trains none")
        return Wish(
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
            bet_on_every_event=self.bets is Bets.EVERY,
            workers=self.workers,
        )


@grouped_options
def backtest(options: BacktestOptions) -> None:
    """Train on an archive up to one day, tell every event of later days, and compare. Needs no service, no database.

    Each event is told from what was known before its start; results count from when they were known; nothing is
    trained again on the way.
    """
    end_with_supervisor(os.environ)
    require("a back-test")
    from headrace.backtest.run import backtest as run  # noqa: PLC0415 - torch takes seconds to import

    report = run(options.request(), note)
    if options.output is Output.JSON:
        print_json(report.json())
    else:
        sys.stdout.write(f"{report.text()}\n")
