"""The command `headrace dead-letters`: lists, redrives and discards records that a service could not handle."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

import typer

from headrace.remote import services
from headrace.remote.asking import ApiOptions
from headrace.terminal.arguments import WideOption, grouped_options
from headrace.terminal.output import print_answer, print_json
from shared.errors import ConfigError

app = typer.Typer(help="Records that a service could not handle.", invoke_without_command=True, rich_markup_mode=None)
DryRunOption = Annotated[bool, typer.Option("--dry-run", help="Only print how many.")]
COLUMNS = ("service", "id", "state", "at", "key", "cause")
WIDE_COLUMNS = (*COLUMNS, "message", "attempts", "redrives", "origin")


@dataclass(frozen=True)
class DeadLetterFilterOptions:
    """The options that filter dead letters."""

    cause: Annotated[str | None, typer.Option(metavar="CLASS", help="Only this class of error.")] = None
    key: Annotated[str | None, typer.Option(metavar="PATTERN", help="Only this key; * matches any characters.")] = None
    topic: Annotated[str | None, typer.Option(metavar="TOPIC", help="Only records from this topic.")] = None
    stack_digest: Annotated[
        str | None, typer.Option("--stack", metavar="DIGEST", help="Only failures with this stack digest.")
    ] = None

    def as_params(self) -> dict[str, str]:
        params = {"cause": self.cause, "key": self.key, "topic": self.topic, "stack_digest": self.stack_digest}
        return {name: value for name, value in params.items() if value is not None}


@dataclass(frozen=True)
class DeadLetterSelectionOptions(DeadLetterFilterOptions):
    """Selects dead letters by exactly one of: ids, all, a filter."""

    ids: Annotated[list[str] | None, typer.Argument(metavar="[ID]...", help="PARTITION/OFFSET, as listed.")] = None
    all_: Annotated[bool, typer.Option("--all", help="All open dead letters.")] = False

    def request(self) -> dict[str, Any]:
        """Raises ConfigError unless exactly one of them is given."""
        filter_ = self.as_params()
        if bool(self.ids) + self.all_ + bool(filter_) != 1:
            raise ConfigError("which ones? Expected ID ..., or --all, or a filter (--cause, --key, --topic, --stack)")
        if self.ids:
            return {"ids": [_validated_id(each) for each in self.ids]}
        return {"filter": filter_} if filter_ else {"all": True}


@app.callback()
@grouped_options
def dead_letters(api_options: ApiOptions, context: typer.Context, wide: WideOption = False) -> None:
    """List the records that services could not handle, or work on them: facets, show, redrive, discard."""
    if context.invoked_subcommand is None:
        print_letters(api_options, None, wide, limit=50)


@app.command("list")
@grouped_options
def list_letters(
    api_options: ApiOptions,
    service: services.MaybeServiceArgument = None,
    *,
    filters: DeadLetterFilterOptions,
    state: Annotated[str | None, typer.Option(metavar="open|redriven|discarded", help="Only this state.")] = None,
    before: Annotated[str | None, typer.Option(metavar="NEXT", help="Continue after a page: its `next`.")] = None,
    limit: Annotated[int, typer.Option("-n", "--limit", min=1, max=1000, help="How many at most.")] = 50,
    wide: WideOption = False,
) -> None:
    """List dead letters of one service, or of all running services, the newest first. Times are in UTC."""
    print_letters(api_options, service, wide, **filters.as_params(), state=state, before=before, limit=limit)


def print_letters(api_options: ApiOptions, service: services.ServiceName | None, wide: bool, **filters: Any) -> None:
    answers = services.get_from_running(api_options, service, "/dead-letters", **filters)
    pages = [{"service": name, **page} for name, page in answers]
    rows = [_row(page["service"], letter, wide) for page in pages for letter in page["dead_letters"]]
    body = pages[0] if service is not None else pages
    columns = WIDE_COLUMNS if wide else COLUMNS
    print_answer(api_options.output, body, columns, rows, "no dead letters", times=("at",), wide=wide)


def _row(service: str, letter: dict[str, Any], wide: bool) -> dict[str, Any]:
    cause = {} if wide else {"cause": f"{letter['cause']}: {letter['message']}"}
    return letter | {"service": service} | cause


@app.command()
@grouped_options
def show(
    api_options: ApiOptions,
    service: services.ServiceArgument,
    id_: Annotated[str, typer.Argument(metavar="ID", help="PARTITION/OFFSET, as listed.")],
) -> None:
    """Print one dead letter as indented JSON: payload, headers and history."""
    with api_options.open_api(service.value) as client:
        letter = client.get(f"/dead-letters/{_validated_id(id_)}")
    print_json(letter, indent=True)


@app.command()
@grouped_options
def facets(
    api_options: ApiOptions,
    service: services.MaybeServiceArgument = None,
    *,
    filters: DeadLetterFilterOptions,
    wide: WideOption = False,
) -> None:
    """Count dead letters by cause, stage, stack digest, origin and day."""
    answers = services.get_from_each(api_options, service, "/dead-letters/facets", **filters.as_params())
    rows = [
        (name, kind, each["value"], each["records"], each.get("frame"), each.get("message"))
        for name, facets in answers
        for kind, values in facets.items()
        for each in values
    ]
    body = answers[0][1] if service is not None else [{"service": name, **facets} for name, facets in answers]
    columns = ("service", "by", "value", "records", "where", "message")
    print_answer(api_options.output, body, columns, rows, "no dead letters", wide=wide)


@app.command()
@grouped_options
def redrive(
    api_options: ApiOptions,
    service: services.ServiceArgument,
    selection: DeadLetterSelectionOptions,
    force: Annotated[
        bool, typer.Option("--force", help="Also dead letters that reached the limit of redrives.")
    ] = False,
    dry_run: DryRunOption = False,
    plan: Annotated[str | None, typer.Option(metavar="ID", help="Redrive exactly what this dry run selected.")] = None,
    wait: services.WaitOption = False,
) -> None:
    """Send dead letters back to the service that failed on them, for another try. No other service receives them."""
    request = {"plan_id": plan} if plan else selection.request()
    request |= {name: True for name, is_set in (("force", force), ("dry_run", dry_run)) if is_set}
    _request_change(api_options, service, "redrives", request, wait)


@app.command()
@grouped_options
def discard(
    api_options: ApiOptions,
    service: services.ServiceArgument,
    reason: Annotated[str, typer.Option("--reason", metavar="TEXT", help="Reason, kept with the change.")],
    selection: DeadLetterSelectionOptions,
    dry_run: DryRunOption = False,
) -> None:
    """Mark dead letters as discarded: they are no longer open, and can still be shown."""
    request = selection.request() | {"reason": reason} | ({"dry_run": True} if dry_run else {})
    _request_change(api_options, service, "discards", request, wait=False)


def _validated_id(text: str) -> str:
    partition, _, offset = text.partition("/")
    if not (partition.isdecimal() and offset.isdecimal()):
        raise ConfigError(f"ID {text}: expected PARTITION/OFFSET, as `headrace dead-letters list` shows it")
    return text


def _request_change(
    api_options: ApiOptions, service: services.ServiceName, collection: str, request: dict[str, Any], wait: bool
) -> None:
    """Request a change and print its operation; of a dry run, print the counts."""
    with api_options.open_api(service.value) as client:
        answer = client.post(f"/dead-letters/{collection}", request)
        if answer.status == services.ACCEPTED:
            services.print_operation(client, answer, wait, api_options.output)
            return
    dry_run = answer.body
    rows = [*dry_run["counts"].items(), *([("plan", int(dry_run["plan_id"]))] if dry_run.get("plan_id") else [])]
    print_answer(api_options.output, dry_run, ("what", "records"), rows, "none")
