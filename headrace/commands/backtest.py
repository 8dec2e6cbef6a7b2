"""headrace backtest."""

from __future__ import annotations

import os
import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import orjson
import typer

from headrace.commands.arguments import ConfigOption, DataDirOption, Output, OutputOption, settings_of, stderr
from headrace.commands.predictor_extra import require
from headrace.commands.registry import RegistrySettings
from headrace.options import day
from headrace.processes.parent_death import end_with_supervisor
from shared.errors import ConfigError
from shared.settings.loading import load


class Bets(StrEnum):
    OWN = "own"
    EVERY = "every"


def backtest(
    train_to: Annotated[str, typer.Option(metavar="D", help="Last day to learn from.")],
    validate_to: Annotated[str, typer.Option(metavar="D", help="Last day to choose and calibrate by.")],
    test_from: Annotated[str, typer.Option(metavar="D", help="First day to tell.")],
    test_to: Annotated[str, typer.Option(metavar="D", help="Last day to tell; nothing after it is read.")],
    archive: Annotated[Path, typer.Option(metavar="DIR", help="The folder that holds v2/.")],
    out: Annotated[Path, typer.Option(metavar="FILE", help="The probabilities, as CSV: six lines an event.")],
    seed: Annotated[int, typer.Option(min=0, help="Of everything that is drawn; the same one, the same file.")] = 7,
    pictures: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Where pictures go. [default: a folder beside FILE]")
    ] = None,
    ablation: Annotated[
        bool, typer.Option("--ablation/--no-ablation", help="Train again without history, to tell what it is worth.")
    ] = True,
    references: Annotated[
        bool, typer.Option("--references/--no-references", help="Train what the model is compared with.")
    ] = True,
    model: Annotated[
        str | None, typer.Option(metavar="V", help="Judge this model, which is there; train none.")
    ] = None,
    models_dir: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Where models lie. [default: models in the data directory]")
    ] = None,
    save_model: Annotated[bool, typer.Option("--save-model", help="Keep the trained model, as a candidate.")] = False,
    bets: Annotated[
        Bets,
        typer.Option(help="What the column bet holds: what the policy backs best in every event, or its own choice."),
    ] = Bets.EVERY,
    workers: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Trainings side by side. [default: one a core, at most four]")
    ] = None,
    data_dir: DataDirOption = None,
    config: ConfigOption = None,
    output: OutputOption = Output.TABLE,
) -> None:
    """Train on an archive up to one day, tell every event of later days, and compare. Needs no service, no database.

    Each event is told from what was known before its start; results count from when they were known; nothing is
    trained again on the way.
    """
    end_with_supervisor(os.environ)
    require("a back-test")
    from headrace.backtest.request import Wish  # noqa: PLC0415
    from headrace.backtest.run import backtest as run  # noqa: PLC0415 - torch takes seconds to import
    from services.predictor.backtest.walk_forward import Spans  # noqa: PLC0415

    days = (
        ("--train-to", train_to),
        ("--validate-to", validate_to),
        ("--test-from", test_from),
        ("--test-to", test_to),
    )
    named = {name.removeprefix("--").replace("-", "_"): day(name, text) for name, text in days}
    if model is not None and save_model:
        raise ConfigError("--save-model keeps a model that is trained here; --model trains none")
    wish = Wish(
        spans=Spans(**{name: found for name, found in named.items() if found is not None}),
        archive=archive,
        out=out,
        pictures=pictures or out.with_name(f"{out.stem}-pictures"),
        models_dir=models_dir or _models_dir(data_dir, config),
        seed=seed,
        ablation=ablation,
        references=references,
        model=model,
        save_model=save_model,
        bet_on_every_event=bets is Bets.EVERY,
        workers=workers,
    )
    console = stderr()
    report = run(wish, lambda text: console.print(text, markup=False, soft_wrap=True))
    sys.stdout.write((orjson.dumps(report.json()).decode() if output is Output.JSON else report.text()) + "\n")


def _models_dir(data_dir: Path | None, config: Path | None) -> Path:
    asked = settings_of(data_dir, None, config)
    return load(RegistrySettings, os.environ, config, {"data_dir": asked.data_dir}).models_dir
