"""The command `headrace models`: lists and changes the models of the registry."""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any

import typer

from headrace.remote.registry import Bench, ReasonOption, VersionArgument, step, version_of, versions
from headrace.terminal.arguments import Output, WideOption, grouped_options
from headrace.terminal.output import print_answer, print_json, stdout
from services.predictor.api.models import listed, whole
from services.predictor.registry import transitions

app = typer.Typer(help="The trained models and their states.", invoke_without_command=True, rich_markup_mode=None)
COLUMNS = ("version", "state", "since", "first_day", "last_day", "events", "log_loss", "base")
WIDE_COLUMNS = (*COLUMNS, "seed", "problem")


@app.callback()
@grouped_options
def models(bench: Bench, context: typer.Context, wide: WideOption = False) -> None:
    """List trained models, or work on one: show, shadow, retire, delete. `headrace promote` and `headrace rollback`
    change the live model. If no predictor runs, these commands use the model files of this machine."""
    if context.invoked_subcommand is None:
        show_all(bench, wide)


@app.command("list")
@grouped_options
def list_models(bench: Bench, wide: WideOption = False) -> None:
    """List models, the newest data first, with their log-loss and the base rate's on the validation days. Times are in
    UTC."""
    show_all(bench, wide)


@app.command()
@grouped_options
def show(bench: Bench, version: VersionArgument) -> None:
    """Print one model as indented JSON: its description, metrics and history."""
    with ExitStack() as stack:
        asked = bench.predictor(stack)
        meant = version_of(version, versions(bench, asked))
        if asked is not None:
            body = asked.get(f"/models/{meant}")
        else:
            body = whole(bench.models_dir, meant).model_dump(mode="json")
    print_json(body, indent=True)


@app.command()
@grouped_options
def shadow(bench: Bench, version: VersionArgument, reason: ReasonOption = None) -> None:
    """Make a model a shadow: it predicts beside the live model. Its predictions are stored and marked but not sent, so
    that it can be evaluated and promoted."""
    step(bench, version, "shadow", reason, transitions.shadow)


@app.command()
@grouped_options
def retire(bench: Bench, version: VersionArgument, reason: ReasonOption = None) -> None:
    """Retire a shadow or a candidate: it no longer predicts."""
    step(bench, version, "retire", reason, transitions.retire)


@app.command()
@grouped_options
def delete(bench: Bench, version: VersionArgument, reason: ReasonOption = None) -> None:
    """Delete the files of a model that is not in use. Its predictions stay."""
    step(bench, version, "delete", reason, transitions.delete)


def show_all(bench: Bench, wide: bool) -> None:
    with ExitStack() as stack:
        asked = bench.predictor(stack)
        if asked is not None:
            found: list[dict[str, Any]] = asked.get("/models")
        else:
            found = [each.model_dump(mode="json") for each in listed(bench.models_dir)]
    rows, none = [_row(each, wide) for each in found], "no models: `headrace train` makes one"
    columns = WIDE_COLUMNS if wide else COLUMNS
    print_answer(bench.output, found, columns, rows, none, times=("since",), wide=wide)
    if bench.output is Output.TABLE and not wide:
        for model in found:
            if model["problem"]:
                stdout().print(f"{model['version']} cannot be used: {model['problem']}", markup=False)


def _row(model: dict[str, Any], wide: bool) -> dict[str, Any]:
    """The log-losses are of the result after the observation, or from the card if the model has no other."""
    metrics = model["metrics"]
    state = "observation" if "observation_result" in metrics else "card"
    losses = {"log_loss": metrics.get(f"{state}_result"), "base": metrics.get(f"{state}_result_base")}
    return model | (losses if wide else {name: loss and f"{loss:.4f}" for name, loss in losses.items()})
