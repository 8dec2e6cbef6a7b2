"""headrace dead-letters: records that a service could not handle."""

from __future__ import annotations

import sys
from typing import Annotated, Any

import orjson
import typer

from headrace.client import NotRunningError
from headrace.commands.arguments import Output
from headrace.commands.asking import Asking, asks
from headrace.commands.remote import (
    ACCEPTED,
    MaybeServiceArgument,
    ServiceArgument,
    ServiceName,
    WaitOption,
    conclude,
    give,
    of_each,
    rejected,
    services_of,
)
from shared.errors import ConfigError

app = typer.Typer(help="Records that a service could not handle.", invoke_without_command=True, rich_markup_mode=None)
IdsArgument = Annotated[list[str] | None, typer.Argument(metavar="[ID]...", help="PARTITION/OFFSET, as listed.")]
CauseOption = Annotated[str | None, typer.Option(metavar="CLASS", help="Of this class of error.")]
KeyOption = Annotated[str | None, typer.Option(metavar="PATTERN", help="With this key; * stands for anything.")]
DigestOption = Annotated[str | None, typer.Option("--stack", metavar="DIGEST", help="That failed in this way.")]
TopicOption = Annotated[str | None, typer.Option(metavar="TOPIC", help="That came from this topic.")]
AllOption = Annotated[bool, typer.Option("--all", help="All that are open.")]
DryRunOption = Annotated[bool, typer.Option("--dry-run", help="Only say how many.")]
LIST = ("service", "id", "state", "at", "key", "cause", "message", "attempts", "redrives", "origin")


@app.callback()
@asks
def dead_letters(asking: Asking, context: typer.Context) -> None:
    """List the records that services could not handle, or deal with them: facets, show, redrive, discard."""
    if context.invoked_subcommand is None:
        show_all(asking, None, limit=50)


@app.command("list")
@asks
def list_letters(
    asking: Asking,
    service: MaybeServiceArgument = None,
    cause: CauseOption = None,
    key: KeyOption = None,
    topic: TopicOption = None,
    stack: DigestOption = None,
    state: Annotated[str | None, typer.Option(metavar="open|redriven|discarded", help="In this state.")] = None,
    before: Annotated[str | None, typer.Option(metavar="NEXT", help="The page before's `next`.")] = None,
    limit: Annotated[int, typer.Option("-n", "--limit", min=1, max=1000, help="How many at most.")] = 50,
) -> None:
    """The newest first, of one service or of all that run."""
    show_all(
        asking, service, cause=cause, key=key, topic=topic, stack_digest=stack, state=state, before=before, limit=limit
    )


def show_all(asking: Asking, service: ServiceName | None, **filters: Any) -> None:
    pages: list[dict[str, Any]] = []
    for name in services_of(service):
        try:
            with asking.api(name) as asked:
                page = asked.get("/dead-letters", **filters)
        except NotRunningError:
            if service is not None:
                raise
            continue
        pages.append({"service": name, **page})
    rows = [
        (page["service"], *(letter[column] for column in LIST[1:])) for page in pages for letter in page["dead_letters"]
    ]
    body = pages[0] if service is not None else pages
    give(asking.output, body, LIST, lambda: rows, "no dead letters")


@app.command()
@asks
def show(
    asking: Asking,
    service: ServiceArgument,
    id_: Annotated[str, typer.Argument(metavar="ID", help="PARTITION/OFFSET, as listed.")],
) -> None:
    """One, whole, as indented JSON: its payload, its headers, what happened to it."""
    with asking.api(service.value) as asked:
        letter = asked.get(f"/dead-letters/{_place(id_)}")
    sys.stdout.write(orjson.dumps(letter, option=orjson.OPT_INDENT_2).decode() + "\n")


@app.command()
@asks
def facets(
    asking: Asking,
    service: MaybeServiceArgument = None,
    cause: CauseOption = None,
    key: KeyOption = None,
    topic: TopicOption = None,
    stack: DigestOption = None,
) -> None:
    """How many there are by cause, stage, way to fail, origin and day."""
    found = of_each(
        asking, service, "/dead-letters/facets", cause=cause, key=key, topic=topic, stack_digest=stack
    )  # fmt: skip
    rows = [
        (name, kind, each["value"], each["records"], each.get("frame"), each.get("message"))
        for name, facets in found
        for kind, values in facets.items()
        for each in values
    ]
    body = found[0][1] if service is not None else [{"service": name, **facets} for name, facets in found]
    columns = ("service", "by", "value", "records", "where", "message")
    give(asking.output, body, columns, lambda: rows, "no dead letters")


@app.command()
@asks
def redrive(
    asking: Asking,
    service: ServiceArgument,
    ids: IdsArgument = None,
    all_: AllOption = False,
    cause: CauseOption = None,
    key: KeyOption = None,
    topic: TopicOption = None,
    stack: DigestOption = None,
    force: Annotated[bool, typer.Option("--force", help="Also those that were sent back too often.")] = False,
    dry_run: DryRunOption = False,
    plan: Annotated[str | None, typer.Option(metavar="ID", help="Exactly what this dry run found.")] = None,
    wait: WaitOption = False,
) -> None:
    """Send dead letters back to the service that failed, to be tried again; nobody else sees them."""
    wish = {"plan_id": plan} if plan else chosen(ids, all_, cause, key, topic, stack)
    wish |= {name: True for name, given in (("force", force), ("dry_run", dry_run)) if given}
    with asking.api(service.value) as asked:
        answer = asked.post("/dead-letters/redrives", wish)
        if answer.status == ACCEPTED:
            conclude(asked, answer, wait, asking.output)
            return
    _show_found(answer.body, asking.output)


@app.command()
@asks
def discard(
    asking: Asking,
    service: ServiceArgument,
    reason: Annotated[str, typer.Option("--reason", metavar="TEXT", help="Why; it is kept.")],
    ids: IdsArgument = None,
    all_: AllOption = False,
    cause: CauseOption = None,
    key: KeyOption = None,
    topic: TopicOption = None,
    stack: DigestOption = None,
    dry_run: DryRunOption = False,
) -> None:
    """Put dead letters aside: they are not open any more, and can still be looked at."""
    wish = chosen(ids, all_, cause, key, topic, stack) | {"reason": reason} | ({"dry_run": True} if dry_run else {})
    with asking.api(service.value) as asked:
        answer = asked.post("/dead-letters/discards", wish)
        if answer.status == ACCEPTED:
            conclude(asked, answer, False, asking.output)
            return
    _show_found(answer.body, asking.output)


def chosen(
    ids: list[str] | None,
    all_: bool,
    cause: str | None,
    key: str | None,
    topic: str | None,
    stack: str | None,
) -> dict[str, Any]:
    """Exactly one way to choose. Raises ConfigError."""
    given = {"cause": cause, "key": key, "topic": topic, "stack_digest": stack}
    filter_ = {name: value for name, value in given.items() if value is not None}
    if bool(ids) + all_ + bool(filter_) != 1:
        raise ConfigError("which ones? ID ..., or --all, or a filter (--cause, --key, --topic, --stack)")
    if ids:
        return {"ids": [_place(each) for each in ids]}
    return {"filter": filter_} if filter_ else {"all": True}


def _place(text: str) -> str:
    partition, _, offset = text.partition("/")
    if not (partition.isdecimal() and offset.isdecimal()):
        raise rejected("ID", text, "PARTITION/OFFSET, as `headrace dead-letters list` shows it")
    return text


def _show_found(found: dict[str, Any], output: Output) -> None:
    rows = [*found["counts"].items(), *([("plan", int(found["plan_id"]))] if found.get("plan_id") else [])]
    give(output, found, ("what", "records"), lambda: rows, "none")
