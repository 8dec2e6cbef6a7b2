"""The command `headrace alerts`: lists and acknowledges alerts about the pipeline, and mutes rules."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from headrace.remote.asking import ApiOptions
from headrace.terminal.arguments import Output, WideOption, grouped_options
from headrace.terminal.output import print_answer, print_json, stdout
from shared.errors import HeadraceError

SERVICE = "notifier"
COLUMNS = ("id", "state", "severity", "rule", "subject", "opened_at", "acknowledged_by")
WIDE_COLUMNS = (*COLUMNS, "last_seen_at", "resolved_at", "text")
MUTE_COLUMNS = ("id", "rule", "until", "by")
NOT_RESOLVED = ("open", "acknowledged")

app = typer.Typer(help="Alerts about the pipeline.", invoke_without_command=True, rich_markup_mode=None)
RuleArgument = Annotated[str, typer.Argument(metavar="RULE", help="Name of a rule, for example stage-down.")]


@app.callback()
@grouped_options
def alerts(api_options: ApiOptions, context: typer.Context, wide: WideOption = False) -> None:
    """List open alerts about the pipeline, or work on them: list, acknowledge, mutes, mute, unmute."""
    if context.invoked_subcommand is None:
        print_incidents(api_options, NOT_RESOLVED, None, 50, wide)


@app.command("list")
@grouped_options
def list_alerts(
    api_options: ApiOptions,
    state: Annotated[
        list[str] | None, typer.Option(metavar="open|acknowledged|resolved", help="Only these. [default: not resolved]")
    ] = None,
    all_: Annotated[bool, typer.Option("--all", help="Resolved ones too.")] = False,
    before: Annotated[int | None, typer.Option(metavar="NEXT", help="Continue after a page: its `next`.")] = None,
    limit: Annotated[int, typer.Option("-n", "--limit", min=1, max=1000, help="How many at most.")] = 50,
    wide: WideOption = False,
) -> None:
    """List alerts that are not resolved, the newest first. Times are in UTC."""
    print_incidents(api_options, state or (() if all_ else NOT_RESOLVED), before, limit, wide)


@app.command()
@grouped_options
def acknowledge(
    api_options: ApiOptions, id_: Annotated[int, typer.Argument(metavar="ID", min=1, help="As listed.")]
) -> None:
    """Tell the others that you take care of an alert. It ends when its cause does."""
    with api_options.open_api(SERVICE) as client:
        body = client.post(f"/incidents/{id_}/acknowledge").body
    text = f"incident {body['id']} ({body['rule']}, {body['subject']}): acknowledged by {body['acknowledged_by']}"
    _print_change(api_options, body, text)


@app.command()
@grouped_options
def mutes(api_options: ApiOptions, wide: WideOption = False) -> None:
    """List the mutes that hold now. Times are in UTC."""
    with api_options.open_api(SERVICE) as client:
        body = client.get("/mutes")
    print_answer(api_options.output, body, MUTE_COLUMNS, body["mutes"], "no mutes", times=("until",), wide=wide)


@app.command()
@grouped_options
def mute(
    api_options: ApiOptions,
    rule: RuleArgument,
    duration: Annotated[str, typer.Option("--for", metavar="SPAN", help="How long: 15m, 2h, 7d ...")],
) -> None:
    """Send nothing of a rule for some time. What would have been sent is not sent later."""
    with api_options.open_api(SERVICE) as client:
        body = client.post("/mutes", {"rule": rule, "for": duration}).body
    _print_change(api_options, body, f"{rule} is muted until {body['until']}")


@app.command()
@grouped_options
def unmute(api_options: ApiOptions, rule: RuleArgument) -> None:
    """End all mutes of a rule."""
    with api_options.open_api(SERVICE) as client:
        ids = [each["id"] for each in client.get("/mutes")["mutes"] if each["rule"] == rule]
        if not ids:
            raise HeadraceError(f"{rule} is not muted; `headrace alerts mutes` lists the mutes")
        bodies = [client.post(f"/mutes/{id_}/end").body for id_ in ids]
    _print_change(api_options, bodies, f"{rule} is no longer muted")


def print_incidents(
    api_options: ApiOptions, states: list[str] | tuple[str, ...], before: int | None, limit: int, wide: bool
) -> None:
    with api_options.open_api(SERVICE) as client:
        page = client.get("/incidents", state=list(states), before=before, limit=limit)
    columns, times = WIDE_COLUMNS if wide else COLUMNS, ("opened_at", "last_seen_at", "resolved_at")
    print_answer(api_options.output, page, columns, page["incidents"], "no alerts", times=times, wide=wide)


def _print_change(api_options: ApiOptions, body: Any, text: str) -> None:
    if api_options.output is Output.JSON:
        print_json(body)
    else:
        stdout().print(text, markup=False)
