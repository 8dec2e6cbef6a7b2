"""headrace dead-letters: records that a service could not handle."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

import typer

from headrace.remote import services
from headrace.remote.asking import Asking
from headrace.terminal.arguments import grouped_options
from headrace.terminal.output import give, print_json
from shared.errors import ConfigError

app = typer.Typer(help="Records that a service could not handle.", invoke_without_command=True, rich_markup_mode=None)
DryRunOption = Annotated[bool, typer.Option("--dry-run", help="Only say how many.")]
LIST = ("service", "id", "state", "at", "key", "cause", "message", "attempts", "redrives", "origin")


@dataclass(frozen=True)
class Filter:
    """Which dead letters."""

    cause: Annotated[str | None, typer.Option(metavar="CLASS", help="Of this class of error.")] = None
    key: Annotated[str | None, typer.Option(metavar="PATTERN", help="With this key; * stands for anything.")] = None
    topic: Annotated[str | None, typer.Option(metavar="TOPIC", help="That came from this topic.")] = None
    stack_digest: Annotated[str | None, typer.Option("--stack", metavar="DIGEST", help="That failed in this way.")] = (
        None
    )

    def given(self) -> dict[str, str]:
        found = {"cause": self.cause, "key": self.key, "topic": self.topic, "stack_digest": self.stack_digest}
        return {name: value for name, value in found.items() if value is not None}


@dataclass(frozen=True)
class Choice(Filter):
    """Exactly one of: ids, all, a filter."""

    ids: Annotated[list[str] | None, typer.Argument(metavar="[ID]...", help="PARTITION/OFFSET, as listed.")] = None
    all_: Annotated[bool, typer.Option("--all", help="All that are open.")] = False

    def request(self) -> dict[str, Any]:
        """Raises ConfigError unless one is given."""
        filter_ = self.given()
        if bool(self.ids) + self.all_ + bool(filter_) != 1:
            raise ConfigError("which ones? ID ..., or --all, or a filter (--cause, --key, --topic, --stack)")
        if self.ids:
            return {"ids": [_place(each) for each in self.ids]}
        return {"filter": filter_} if filter_ else {"all": True}


@app.callback()
@grouped_options
def dead_letters(asking: Asking, context: typer.Context) -> None:
    """List the records that services could not handle, or deal with them: facets, show, redrive, discard."""
    if context.invoked_subcommand is None:
        show_all(asking, None, limit=50)


@app.command("list")
@grouped_options
def list_letters(
    asking: Asking,
    service: services.MaybeServiceArgument = None,
    *,
    filters: Filter,
    state: Annotated[str | None, typer.Option(metavar="open|redriven|discarded", help="In this state.")] = None,
    before: Annotated[str | None, typer.Option(metavar="NEXT", help="The page before's `next`.")] = None,
    limit: Annotated[int, typer.Option("-n", "--limit", min=1, max=1000, help="How many at most.")] = 50,
) -> None:
    """The newest first, of one service or of all that run."""
    show_all(asking, service, **filters.given(), state=state, before=before, limit=limit)


def show_all(asking: Asking, service: services.ServiceName | None, **filters: Any) -> None:
    found = services.of_running(asking, service, "/dead-letters", **filters)
    pages = [{"service": name, **page} for name, page in found]
    rows = [{**letter, "service": page["service"]} for page in pages for letter in page["dead_letters"]]
    body = pages[0] if service is not None else pages
    give(asking.output, body, LIST, rows, "no dead letters")


@app.command()
@grouped_options
def show(
    asking: Asking,
    service: services.ServiceArgument,
    id_: Annotated[str, typer.Argument(metavar="ID", help="PARTITION/OFFSET, as listed.")],
) -> None:
    """One, whole, as indented JSON: its payload, its headers, what happened to it."""
    with asking.api(service.value) as asked:
        letter = asked.get(f"/dead-letters/{_place(id_)}")
    print_json(letter, indent=True)


@app.command()
@grouped_options
def facets(asking: Asking, service: services.MaybeServiceArgument = None, *, filters: Filter) -> None:
    """How many there are by cause, stage, way to fail, origin and day."""
    found = services.of_each(asking, service, "/dead-letters/facets", **filters.given())
    rows = [
        (name, kind, each["value"], each["records"], each.get("frame"), each.get("message"))
        for name, facets in found
        for kind, values in facets.items()
        for each in values
    ]
    body = found[0][1] if service is not None else [{"service": name, **facets} for name, facets in found]
    columns = ("service", "by", "value", "records", "where", "message")
    give(asking.output, body, columns, rows, "no dead letters")


@app.command()
@grouped_options
def redrive(
    asking: Asking,
    service: services.ServiceArgument,
    choice: Choice,
    force: Annotated[bool, typer.Option("--force", help="Also those that were sent back too often.")] = False,
    dry_run: DryRunOption = False,
    plan: Annotated[str | None, typer.Option(metavar="ID", help="Exactly what this dry run found.")] = None,
    wait: services.WaitOption = False,
) -> None:
    """Send dead letters back to the service that failed, to be tried again; nobody else sees them."""
    wish = {"plan_id": plan} if plan else choice.request()
    wish |= {name: True for name, given in (("force", force), ("dry_run", dry_run)) if given}
    _change(asking, service, "redrives", wish, wait)


@app.command()
@grouped_options
def discard(
    asking: Asking,
    service: services.ServiceArgument,
    reason: Annotated[str, typer.Option("--reason", metavar="TEXT", help="Why; it is kept.")],
    choice: Choice,
    dry_run: DryRunOption = False,
) -> None:
    """Put dead letters aside: they are not open any more, and can still be looked at."""
    wish = choice.request() | {"reason": reason} | ({"dry_run": True} if dry_run else {})
    _change(asking, service, "discards", wish, wait=False)


def _place(text: str) -> str:
    partition, _, offset = text.partition("/")
    if not (partition.isdecimal() and offset.isdecimal()):
        raise ConfigError(f"ID {text}: expected PARTITION/OFFSET, as `headrace dead-letters list` shows it")
    return text


def _change(asking: Asking, service: services.ServiceName, what: str, wish: dict[str, Any], wait: bool) -> None:
    """Ask for it, and show the operation; or what was found, where nothing is to be done."""
    with asking.api(service.value) as asked:
        answer = asked.post(f"/dead-letters/{what}", wish)
        if answer.status == services.ACCEPTED:
            services.conclude(asked, answer, wait, asking.output)
            return
    found = answer.body
    rows = [*found["counts"].items(), *([("plan", int(found["plan_id"]))] if found.get("plan_id") else [])]
    give(asking.output, found, ("what", "records"), rows, "none")
