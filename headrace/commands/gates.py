"""The command `headrace gates`: what the fetcher's requests wait for, by host, and how to end a wait."""

from __future__ import annotations

from typing import Annotated

import typer

from headrace.remote.asking import ApiOptions
from headrace.terminal.arguments import Output, WideOption, grouped_options
from headrace.terminal.output import print_answer, print_json, stdout

SERVICE = "fetcher"
COLUMNS = ("host", "breaker", "waits_for", "until", "in_flight", "live_waiting", "requested_wait_s")

app = typer.Typer(help="Requests to the sources' hosts.", invoke_without_command=True, rich_markup_mode=None)


@app.callback()
@grouped_options
def gates(api_options: ApiOptions, context: typer.Context, wide: WideOption = False) -> None:
    """List what the fetcher's requests to each host wait for, or end a wait: list, reset."""
    if context.invoked_subcommand is None:
        print_gates(api_options, wide)


@app.command("list")
@grouped_options
def list_gates(api_options: ApiOptions, wide: WideOption = False) -> None:
    """List the hosts, what their requests wait for, and until when. Times are in UTC."""
    print_gates(api_options, wide)


@app.command()
@grouped_options
def reset(api_options: ApiOptions, host: Annotated[str, typer.Argument(metavar="HOST", help="As listed.")]) -> None:
    """Make requests to a host again, although too many failed or its server asked to wait. The budget holds as before.

    Do this if you know that the server works again. Windows that were put back are fetched within half a minute.
    """
    with api_options.open_api(SERVICE) as client:
        body = client.post(f"/gates/{host}/reset").body
    if api_options.output is Output.JSON:
        print_json(body)
    else:
        stdout().print(f"{body['host']}: requests are made again, within the budget", markup=False)


def print_gates(api_options: ApiOptions, wide: bool) -> None:
    with api_options.open_api(SERVICE) as client:
        body = client.get("/gates")
    print_answer(api_options.output, body, COLUMNS, body["gates"], "no requests yet", times=("until",), wide=wide)
