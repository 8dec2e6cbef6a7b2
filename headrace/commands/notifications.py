"""The command `headrace notifications`: lists the notifier's messages and decides about undelivered ones."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any

import typer

from headrace.remote.asking import ApiOptions
from headrace.terminal.arguments import Output, WideOption, grouped_options
from headrace.terminal.days import parse_time
from headrace.terminal.output import print_answer, print_json, print_note, stdout
from shared.errors import ConfigError

app = typer.Typer(help="Messages to people.", invoke_without_command=True, rich_markup_mode=None)
IdArgument = Annotated[str, typer.Argument(metavar="ID", help="As listed.")]
ReasonOption = Annotated[str, typer.Option("--reason", metavar="TEXT", help="Reason, kept with the change.")]
SERVICE = "notifier"
COLUMNS = ("id", "created_at", "state", "address", "rule", "error")
WIDE_COLUMNS = ("id", "created_at", "state", "address", "rule", "event_key", "attempts", "sent_at", "error", "text")


@app.callback()
@grouped_options
def notifications(api_options: ApiOptions, context: typer.Context, wide: WideOption = False) -> None:
    """List the messages to people, or decide: about one (retry, discard), about all (hold, discard, release), or about
    the messages of a closed channel (release)."""
    if context.invoked_subcommand is None:
        print_notifications(api_options, wide, limit=50)


@app.command("list")
@grouped_options
def list_notifications(
    api_options: ApiOptions,
    state: Annotated[str | None, typer.Option(metavar="S", help="pending, sent, failed, unknown, expired.")] = None,
    channel: Annotated[str | None, typer.Option(metavar="C", help="A kind of channel, or an address.")] = None,
    before: Annotated[int | None, typer.Option(metavar="ID", help="Only messages older than this one.")] = None,
    limit: Annotated[int, typer.Option("-n", "--limit", min=1, max=1000, help="How many at most.")] = 50,
    wide: WideOption = False,
) -> None:
    """List the messages to people with their delivery state, the newest first. Times are in UTC."""
    print_notifications(api_options, wide, state=state, channel=channel, before=before, limit=limit)


def print_notifications(api_options: ApiOptions, wide: bool, **filters: Any) -> None:
    with api_options.open_api(SERVICE) as client:
        page = client.get("/notifications", **filters)
    rows = [each | {"id": str(each["id"])} for each in page["notifications"]]
    columns = WIDE_COLUMNS if wide else COLUMNS
    times = ("created_at", "sent_at")
    print_answer(api_options.output, page, columns, rows, "no notifications", times=times, wide=wide)
    if hold := page["hold"]:
        print_note(
            f"no message is sent since {hold['since']}: {hold['cause']}; `headrace notifications discard --until TIME"
            " --reason TEXT` discards what people have received, `headrace notifications release` sends the rest"
        )

    for each in page["closed"]:
        print_note(
            f"{each['address']} is closed since {each['since']}, {each['waiting']:,} wait: {each['cause']}; `headrace"
            f" notifications release --channel {each['address']}` sends again"
        )


@app.command()
@grouped_options
def retry(api_options: ApiOptions, id_: IdArgument) -> None:
    """Send a message again that failed, expired or is of unknown delivery. In the last case it may arrive twice."""
    _decide(api_options, id_, "retry", {})


@app.command()
@grouped_options
def discard(
    api_options: ApiOptions,
    reason: ReasonOption,
    id_: Annotated[str | None, typer.Argument(metavar="ID", help="As listed.")] = None,
    until: Annotated[
        str | None,
        typer.Option(
            "--until",
            metavar="TIME",
            help="All messages that were recorded until then: an ISO time with its zone, or now.",
        ),
    ] = None,
    channel: Annotated[
        str, typer.Option("--channel", metavar="C", help="With --until: only to this kind of channel, or address.")
    ] = "",
) -> None:
    """Do not send a message that failed or is of unknown delivery; with --until, all that wait or are of unknown
    delivery."""
    if (id_ is None) == (until is None):
        raise ConfigError("which messages? Expected an ID or --until TIME")
    if id_ is not None:
        _decide(api_options, id_, "discard", {"reason": reason})
    elif until is not None:
        at = datetime.now(UTC) if until == "now" else parse_time("--until", until)
        _change_all(api_options, "discard", {"until": at.isoformat(), "reason": reason, "channel": channel})


@app.command()
@grouped_options
def hold(api_options: ApiOptions, reason: ReasonOption) -> None:
    """Send no message until they are released. They are still recorded."""
    _change_all(api_options, "hold", {"reason": reason})


@app.command()
@grouped_options
def release(
    api_options: ApiOptions,
    channel: Annotated[
        str | None,
        typer.Option("--channel", metavar="C", help="Open this closed address, or all of this kind of channel."),
    ] = None,
) -> None:
    """Send the messages that are held, for example after a restore. Discard those before that people have received."""
    _change_all(api_options, "release", {} if channel is None else {"channel": channel})


def _change_all(api_options: ApiOptions, action: str, body: dict[str, str]) -> None:
    with api_options.open_api(SERVICE) as client:
        state = client.post(f"/notifications/{action}", body or None).body
    if api_options.output is Output.JSON:
        print_json(state)
        return
    discarded = f"{state['discarded']:,} messages were discarded; " if action == "discard" else ""
    held = "held until `headrace notifications release`" if state["hold"] else "being sent"
    if not state["hold"] and (closed := ", ".join(each["address"] for each in state["closed"])):
        held = f"being sent, except to {closed}, which are closed"
    stdout().print(f"{discarded}{state['waiting']:,} messages wait, {held}", markup=False, soft_wrap=True)


def _decide(api_options: ApiOptions, id_: str, action: str, body: dict[str, str]) -> None:
    if not id_.isdecimal():
        raise ConfigError(f"ID {id_}: expected a number, as `headrace notifications list` shows it")
    with api_options.open_api(SERVICE) as client:
        notification = client.post(f"/notifications/{int(id_)}/{action}", body or None).body
    if api_options.output is Output.JSON:
        print_json(notification)
    else:
        stdout().print(f"notification {id_} to {notification['address']}: {notification['state']}", markup=False)
