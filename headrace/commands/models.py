"""The command `headrace models`: lists and changes the models of the registry."""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any

import typer

from headrace.remote.registry import ReasonOption, RegistryAccess, VersionArgument, change_model, version_of, versions
from headrace.terminal.arguments import Output, WideOption, grouped_options
from headrace.terminal.output import print_answer, print_json, stdout
from services.predictor.api.models import model_detail, model_list
from services.predictor.registry import transitions

app = typer.Typer(help="The trained models and their states.", invoke_without_command=True, rich_markup_mode=None)
COLUMNS = ("version", "state", "since", "first_day", "last_day", "events", "log_loss", "base")
WIDE_COLUMNS = (*COLUMNS, "seed", "problem")


@app.callback()
@grouped_options
def models(registry_access: RegistryAccess, context: typer.Context, wide: WideOption = False) -> None:
    """List trained models, or work on one: show, shadow, retire, delete. `headrace promote` and `headrace rollback`
    change the live model. If no predictor runs, these commands use the model files of this machine."""
    if context.invoked_subcommand is None:
        print_models(registry_access, wide)


@app.command("list")
@grouped_options
def list_models(registry_access: RegistryAccess, wide: WideOption = False) -> None:
    """List models, the newest data first, with their log-loss and the base rate's on the validation days. Times are in
    UTC."""
    print_models(registry_access, wide)


@app.command()
@grouped_options
def show(registry_access: RegistryAccess, version: VersionArgument) -> None:
    """Print one model as indented JSON: its description, metrics and history."""
    with ExitStack() as stack:
        client = registry_access.predictor(stack)
        full_version = version_of(version, versions(registry_access, client))
        if client is not None:
            body = client.get(f"/models/{full_version}")
        else:
            body = model_detail(registry_access.models_dir, full_version).model_dump(mode="json")
    print_json(body, indent=True)


@app.command()
@grouped_options
def shadow(registry_access: RegistryAccess, version: VersionArgument, reason: ReasonOption = None) -> None:
    """Make a model a shadow: it predicts beside the live model. Its predictions are stored and marked but not sent, so
    that it can be evaluated and promoted."""
    change_model(registry_access, version, "shadow", reason, transitions.shadow)


@app.command()
@grouped_options
def retire(registry_access: RegistryAccess, version: VersionArgument, reason: ReasonOption = None) -> None:
    """Retire a shadow or a candidate: it no longer predicts."""
    change_model(registry_access, version, "retire", reason, transitions.retire)


@app.command()
@grouped_options
def delete(registry_access: RegistryAccess, version: VersionArgument, reason: ReasonOption = None) -> None:
    """Delete the files of a model that is not in use. Its predictions stay."""
    change_model(registry_access, version, "delete", reason, transitions.delete)


def print_models(registry_access: RegistryAccess, wide: bool) -> None:
    with ExitStack() as stack:
        client = registry_access.predictor(stack)
        if client is not None:
            bodies: list[dict[str, Any]] = client.get("/models")
        else:
            bodies = [each.model_dump(mode="json") for each in model_list(registry_access.models_dir)]
    rows, none = [_row(each, wide) for each in bodies], "no models: `headrace train` makes one"
    columns = WIDE_COLUMNS if wide else COLUMNS
    print_answer(registry_access.output, bodies, columns, rows, none, times=("since",), wide=wide)
    if registry_access.output is Output.TABLE and not wide:
        for model in bodies:
            if model["problem"]:
                stdout().print(f"{model['version']} cannot be used: {model['problem']}", markup=False)


def _row(model: dict[str, Any], wide: bool) -> dict[str, Any]:
    """The log-losses are of the result after the observation, or from the card if the model has no other."""
    metrics = model["metrics"]
    state = "observation" if "observation_result" in metrics else "card"
    losses = {"log_loss": metrics.get(f"{state}_result"), "base": metrics.get(f"{state}_result_base")}
    return model | (losses if wide else {name: loss and f"{loss:.4f}" for name, loss in losses.items()})
