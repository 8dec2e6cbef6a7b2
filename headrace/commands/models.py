"""headrace models: the registry."""

from __future__ import annotations

from contextlib import ExitStack
from typing import Any

import typer

from headrace.remote.registry import Bench, ReasonOption, VersionArgument, step, version_of, versions
from headrace.terminal.arguments import grouped_options
from headrace.terminal.output import give, print_json
from services.predictor.api.models import listed, whole
from services.predictor.registry import transitions

app = typer.Typer(
    help="Trained models: which there are, which is live.", invoke_without_command=True, rich_markup_mode=None
)
COLUMNS = ("version", "state", "since", "first_day", "last_day", "events", "log_loss", "base", "problem")


@app.callback()
@grouped_options
def models(bench: Bench, context: typer.Context) -> None:
    """List trained models, or deal with one: show, shadow, retire, delete. Promote and roll back are commands of their
    own. Without a predictor that runs, the files of this machine are asked."""
    if context.invoked_subcommand is None:
        show_all(bench)


@app.command("list")
@grouped_options
def list_models(bench: Bench) -> None:
    """The newest data first, with the log-loss on their validation days and the base rate's."""
    show_all(bench)


@app.command()
@grouped_options
def show(bench: Bench, version: VersionArgument) -> None:
    """One, whole, as indented JSON: what it is made of, how it did, and all that became of it."""
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
    """Let it predict beside the live one: stored, marked, told to nobody. So it can be judged, and promoted."""
    step(bench, version, "shadow", reason, transitions.shadow)


@app.command()
@grouped_options
def retire(bench: Bench, version: VersionArgument, reason: ReasonOption = None) -> None:
    """Let a shadow or candidate predict no more."""
    step(bench, version, "retire", reason, transitions.retire)


@app.command()
@grouped_options
def delete(bench: Bench, version: VersionArgument, reason: ReasonOption = None) -> None:
    """Delete the files of one that is not in use. What it predicted stays."""
    step(bench, version, "delete", reason, transitions.delete)


def show_all(bench: Bench) -> None:
    with ExitStack() as stack:
        asked = bench.predictor(stack)
        if asked is not None:
            found: list[dict[str, Any]] = asked.get("/models")
        else:
            found = [each.model_dump(mode="json") for each in listed(bench.models_dir)]
    give(bench.output, found, COLUMNS, [_row(each) for each in found], "no models: `headrace train` makes one")


def _row(model: dict[str, Any]) -> dict[str, Any]:
    metrics = model["metrics"]
    state = "observation" if "observation_result" in metrics else "card"
    losses = (metrics.get(f"{state}_result{base}") for base in ("", "_base"))
    shown = {name: model.get(name) for name in COLUMNS} | {"since": (model["since"] or "")[:16]}
    shown |= dict(zip(("log_loss", "base"), (None if loss is None else f"{loss:.4f}" for loss in losses), strict=True))
    return shown
