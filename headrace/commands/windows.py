"""The command `headrace windows`: lists the fetcher's windows, their gaps and changes, and accepts suspect ones."""

from __future__ import annotations

import re
from datetime import date
from typing import Annotated, Any

import typer

from headrace.remote.asking import ApiOptions
from headrace.remote.services import WaitOption, print_operation
from headrace.terminal.arguments import WideOption, grouped_options
from headrace.terminal.days import DayOptions
from headrace.terminal.output import print_answer
from shared.errors import ConfigError

app = typer.Typer(help="Windows: a feed of a day.", invoke_without_command=True, rich_markup_mode=None)
COLUMNS = ("date", "feed", "state", "stage", "events", "next_at", "detail")
WIDE_COLUMNS = (*COLUMNS[:-2], "fetched_at", "equal_answers", "attempts", "next_at", "detail")
_ADDRESS = re.compile(r"^(GET )?https?://\S+: ")
TIMES = ("fetched_at", "next_at", "at")
GAP_COLUMNS = ("feed", "from", "to", "days", "states")
CHANGE_COLUMNS = ("date", "feed", "at", "events", "first")
AfterOption = Annotated[str | None, typer.Option(metavar="NEXT", help="Continue after a page: its `next`.")]
LimitOption = Annotated[int, typer.Option("-n", "--limit", min=1, max=1000, help="How many at most.")]
StateOption = Annotated[
    str | None, typer.Option(metavar="S", help="Only this state: planned, live, done, suspect or failed.")
]


@app.callback()
@grouped_options
def windows(
    api_options: ApiOptions,
    context: typer.Context,
    days: DayOptions,
    state: StateOption = None,
    suspect: Annotated[bool, typer.Option("--suspect", help="Only windows whose document may be incomplete.")] = False,
    gaps: Annotated[bool, typer.Option("--gaps", help="List days without a complete document instead.")] = False,
    after: AfterOption = None,
    limit: LimitOption = 100,
    wide: WideOption = False,
) -> None:
    """List the windows (feed and day) of the fetcher with their states, or work on one: accept. Times are in UTC."""
    if context.invoked_subcommand is not None:
        return
    if suspect and state not in {None, "suspect"}:
        raise ConfigError(f"--suspect and --state {state}: expected one of them")
    params = days.request_days()
    with api_options.open_api("fetcher") as client:
        if gaps:
            answer = client.get("/windows/gaps", **params)
            rows = [_gap_row(each) for each in answer["gaps"]]
            print_answer(api_options.output, answer, GAP_COLUMNS, rows, "no gaps", wide=wide)
            return
        filters = {"state": "suspect" if suspect else state, "after": after, "limit": limit}
        page = client.get("/windows", **params, **filters)
    columns = WIDE_COLUMNS if wide else COLUMNS
    rows = page["windows"] if wide else [_short_row(each) for each in page["windows"]]
    print_answer(api_options.output, page, columns, rows, "no windows", times=TIMES, wide=wide)


@app.command()
@grouped_options
def changes(
    api_options: ApiOptions,
    days: DayOptions,
    after: AfterOption = None,
    limit: LimitOption = 100,
    wide: WideOption = False,
) -> None:
    """List windows whose final document changed when it was fetched again: which events, and which fields of them."""
    with api_options.open_api("fetcher") as client:
        page = client.get("/windows/changes", **days.request_days(), after=after, limit=limit)
    rows = [_change_row(each) for each in page["changes"]]
    print_answer(api_options.output, page, CHANGE_COLUMNS, rows, "no changes", times=TIMES, wide=wide)


@app.command()
@grouped_options
def accept(
    api_options: ApiOptions,
    window: Annotated[str, typer.Argument(metavar="FEED/DATE", help="As results/2026-01-31.")],
    reason: Annotated[str, typer.Option("--reason", metavar="TEXT", help="Reason, kept with the change.")],
    wait: WaitOption = False,
) -> None:
    """Accept a suspect or failed window as it is. It is no longer fetched again."""
    feed, day = _validated_window(window)
    with api_options.open_api("fetcher") as client:
        answer = client.post(f"/windows/{feed}/{day}/accept", {"reason": reason})
        print_operation(client, answer, wait, api_options.output)


def _validated_window(text: str) -> tuple[str, date]:
    """The feed and the day of FEED/DATE or SOURCE/FEED/DATE, as errors name it."""
    feed, _, day = text.rpartition("/")
    try:
        return feed.rpartition("/")[2], date.fromisoformat(day)
    except ValueError:
        raise ConfigError(f"WINDOW {text}: expected FEED/YYYY-MM-DD, as results/2026-01-31") from None


def _short_row(window: dict[str, Any]) -> dict[str, Any]:
    """Without the address of the document at the beginning of the cause, which leaves no room for the cause."""
    return window | {"detail": _ADDRESS.sub("", window["detail"] or "")}


def _gap_row(gap: dict[str, Any]) -> dict[str, Any]:
    return gap | {"states": ", ".join(f"{count} {state}" for state, count in gap["states"].items())}


def _change_row(change: dict[str, Any]) -> dict[str, Any]:
    """`first`: the first event that differs."""
    first = next(iter(change["events"]), None)
    fields = "" if first is None else ", ".join(first["fields"])
    text = "" if first is None else f"{first['event']} {first['kind']}" + (f": {fields}" if fields else "")
    return change | {"events": change["total"], "first": text}
