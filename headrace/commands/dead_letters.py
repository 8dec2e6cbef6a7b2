"""The command `headrace dead-letters`: lists, redrives and discards records that a service could not handle."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

import typer

from headrace.remote import services
from headrace.remote.asking import Asking
from headrace.terminal.arguments import WideOption, grouped_options
from headrace.terminal.output import print_answer, print_json
from shared.errors import ConfigError

app = typer.Typer(help="Records that a service could not handle.", invoke_without_command=True, rich_markup_mode=None)
DryRunOption = Annotated[bool, typer.Option("--dry-run", help="Only print how many.")]
COLUMNS = ("service", "id", "state", "at", "key", "cause")
WIDE_COLUMNS = (*COLUMNS, "message", "attempts", "redrives", "origin")


@dataclass(frozen=True)
class Filter:
    """The options that filter dead letters."""

    cause: Annotated[str | None, typer.Option(metavar="CLASS", help="Only this class of error.")] = None
    key: Annotated[str | None, typer.Option(metavar="PATTERN", help="Only this key; * matches any characters.")] = None
    topic: Annotated[str | None, typer.Option(metavar="TOPIC", help="Only records from this topic.")] = None
    stack_digest: Annotated[
        str | None, typer.Option("--stack", metavar="DIGEST", help="Only failures with this stack digest.")
    ] = None

    def given(self) -> dict[str, str]:
        found = {"cause": self.cause, "key": self.key, "topic": self.topic, "stack_digest": self.stack_digest}
        return {name: value for name, value in found.items() if value is not None}


@dataclass(frozen=True)
class Choice(Filter):
    """Selects dead letters by exactly one of: ids, all, a filter."""

    ids: Annotated[list[str] | None, typer.Argument(metavar="[ID]...", help="PARTITION/OFFSET, as listed.")] = None
    all_: Annotated[bool, typer.Option("--all", help="All open dead letters.")] = False

    def request(self) -> dict[str, Any]:
        """Raises ConfigError unless exactly one of them is given."""
        filter_ = self.given()
        if bool(self.ids) + self.all_ + bool(filter_) != 1:
            raise ConfigError("which ones? Expected ID ..., or --all, or a filter (--cause, --key, --topic, --stack)")
        if self.ids:
            return {"ids": [_place(each) for each in self.ids]}
        return {"filter": filter_} if filter_ else {"all": True}


@app.callback()
@grouped_options
def dead_letters(asking: Asking, context: typer.Context, wide: WideOption = False) -> None:
    """List the records that services could not handle, or work on them: facets, show, redrive, discard."""
    if context.invoked_subcommand is None:
        show_all(asking, None, wide, limit=50)


@app.command("list")
@grouped_options
def list_letters(
    asking: Asking,
    service: services.MaybeServiceArgument = None,
    *,
    filters: Filter,
    state: Annotated[str | None, typer.Option(metavar="open|redriven|discarded", help="Only this state.")] = None,
    before: Annotated[str | None, typer.Option(metavar="NEXT", help="Continue after a page: its `next`.")] = None,
    limit: Annotated[int, typer.Option("-n", "--limit", min=1, max=1000, help="How many at most.")] = 50,
    wide: WideOption = False,
) -> None:
    """List dead letters of one service, or of all running services, the newest first. Times are in UTC."""
    show_all(asking, service, wide, **filters.given(), state=state, before=before, limit=limit)


def show_all(asking: Asking, service: services.ServiceName | None, wide: bool, **filters: Any) -> None:
    found = services.of_running(asking, service, "/dead-letters", **filters)
    pages = [{"service": name, **page} for name, page in found]
    rows = [_row(page["service"], letter, wide) for page in pages for letter in page["dead_letters"]]
    body = pages[0] if service is not None else pages
    columns = WIDE_COLUMNS if wide else COLUMNS
    print_answer(asking.output, body, columns, rows, "no dead letters", times=("at",), wide=wide)


def _row(service: str, letter: dict[str, Any], wide: bool) -> dict[str, Any]:
    cause = {} if wide else {"cause": f"{letter['cause']}: {letter['message']}"}
    return letter | {"service": service} | cause


@app.command()
@grouped_options
def show(
    asking: Asking,
    service: services.ServiceArgument,
    id_: Annotated[str, typer.Argument(metavar="ID", help="PARTITION/OFFSET, as listed.")],
) -> None:
    """Print one dead letter as indented JSON: payload, headers and history."""
    with asking.api(service.value) as asked:
        letter = asked.get(f"/dead-letters/{_place(id_)}")
    print_json(letter, indent=True)


@app.command()
@grouped_options
def facets(
    asking: Asking, service: services.MaybeServiceArgument = None, *, filters: Filter, wide: WideOption = False
) -> None:
    """Count dead letters by cause, stage, stack digest, origin and day."""
    found = services.of_each(asking, service, "/dead-letters/facets", **filters.given())
    rows = [
        (name, kind, each["value"], each["records"], each.get("frame"), each.get("message"))
        for name, facets in found
        for kind, values in facets.items()
        for each in values
    ]
    body = found[0][1] if service is not None else [{"service": name, **facets} for name, facets in found]
    columns = ("service", "by", "value", "records", "where", "message")
    print_answer(asking.output, body, columns, rows, "no dead letters", wide=wide)


@app.command()
@grouped_options
def redrive(
    asking: Asking,
    service: services.ServiceArgument,
    choice: Choice,
    force: Annotated[
        bool, typer.Option("--force", help="Also dead letters that reached the limit of redrives.")
    ] = False,
    dry_run: DryRunOption = False,
    plan: Annotated[str | None, typer.Option(metavar="ID", help="Redrive exactly what this dry run selected.")] = None,
    wait: services.WaitOption = False,
) -> None:
    """Send dead letters back to the service that failed on them, for another try. No other service receives them."""
    wish = {"plan_id": plan} if plan else choice.request()
    wish |= {name: True for name, given in (("force", force), ("dry_run", dry_run)) if given}
    _change(asking, service, "redrives", wish, wait)


@app.command()
@grouped_options
def discard(
    asking: Asking,
    service: services.ServiceArgument,
    reason: Annotated[str, typer.Option("--reason", metavar="TEXT", help="Reason, kept with the change.")],
    choice: Choice,
    dry_run: DryRunOption = False,
) -> None:
    """Mark dead letters as discarded: they are no longer open, and can still be shown."""
    wish = choice.request() | {"reason": reason} | ({"dry_run": True} if dry_run else {})
    _change(asking, service, "discards", wish, wait=False)


def _place(text: str) -> str:
    partition, _, offset = text.partition("/")
    if not (partition.isdecimal() and offset.isdecimal()):
        raise ConfigError(f"ID {text}: expected PARTITION/OFFSET, as `headrace dead-letters list` shows it")
    return text


def _change(asking: Asking, service: services.ServiceName, what: str, wish: dict[str, Any], wait: bool) -> None:
    """Request a change and print its operation; of a dry run, print the counts."""
    with asking.api(service.value) as asked:
        answer = asked.post(f"/dead-letters/{what}", wish)
        if answer.status == services.ACCEPTED:
            services.conclude(asked, answer, wait, asking.output)
            return
    found = answer.body
    rows = [*found["counts"].items(), *([("plan", int(found["plan_id"]))] if found.get("plan_id") else [])]
    print_answer(asking.output, found, ("what", "records"), rows, "none")
