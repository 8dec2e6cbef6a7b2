"""The command `headrace backfill`."""

from __future__ import annotations

from typing import Annotated

import typer

from headrace.remote.asking import ApiOptions
from headrace.remote.services import WaitOption, print_operation
from headrace.terminal.arguments import grouped_options
from headrace.terminal.days import DayOptions
from headrace.terminal.output import print_answer
from shared.errors import ConfigError

SELECTIONS = ("missing", "failed", "suspect")
ORDERS = ("oldest", "newest")
PLAN_COLUMNS = ("date", "feed", "state")


@grouped_options
def backfill(
    api_options: ApiOptions,
    days: DayOptions,
    feed: Annotated[list[str] | None, typer.Option(metavar="FEED", help="Only this feed; may be repeated.")] = None,
    again: Annotated[
        bool, typer.Option("--again", help="Also windows that are done; only changes are published.")
    ] = False,
    only: Annotated[
        str | None, typer.Option(metavar="S[,S]", help="Only windows that are missing, failed or suspect now.")
    ] = None,
    order: Annotated[str, typer.Option(metavar="oldest|newest", help="The day to begin with.")] = "oldest",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="List the windows that would be fetched.")] = False,
    wait: WaitOption = False,
) -> None:
    """Fetch more days, in addition to the fetcher's own windows. `headrace operations` shows its progress, pauses,
    resumes and cancels it."""
    if order not in ORDERS:
        raise ConfigError(f"--order {order}: expected {' or '.join(ORDERS)}")
    request = days.required_days() | {"order": order, "again": again, "dry_run": dry_run}
    request |= {"feeds": feed} if feed else {}
    request |= {"only": _validated_selections(only)} if only else {}
    with api_options.open_api("fetcher") as client:
        answer = client.post("/backfills", request)
        if dry_run:
            plan = answer.body
            print_answer(api_options.output, plan, PLAN_COLUMNS, plan["windows"], "no windows", wide=True)
            return
        print_operation(client, answer, wait, api_options.output)


def _validated_selections(text: str) -> list[str]:
    selections = text.split(",")
    if unknown := [each for each in selections if each not in SELECTIONS]:
        raise ConfigError(f"--only {text}: expected some of {', '.join(SELECTIONS)}, got {unknown[0]!r}")
    return list(dict.fromkeys(selections))
