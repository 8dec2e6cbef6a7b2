"""headrace resume."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from headrace.commands.asking import Asking, asks
from headrace.commands.remote import ServiceArgument, WaitOption
from headrace.commands.steering import AllOption, ReasonOption, TopicsArgument, asked_for, steer_service


@asks
def resume(
    asking: Asking,
    service: ServiceArgument,
    topics: TopicsArgument = None,
    all_: AllOption = False,
    wait: WaitOption = False,
    reason: ReasonOption = None,
    tolerate: Annotated[
        int,
        typer.Option(min=0, metavar="N", help="So many more failures before it is held back again."),
    ] = 0,
) -> None:
    """Let a service go on with a topic; also where it held a partition back because too many records failed."""
    wish: dict[str, Any] = ({"reason": reason} if reason else {}) | ({"tolerate": tolerate} if tolerate else {})
    steer_service(asking, service.value, asked_for(service.value, topics, all_), "running", wish, wait)
