"""headrace resume."""

from __future__ import annotations

from typing import Annotated

import typer

from headrace.remote.asking import Asking
from headrace.remote.services import ServiceArgument
from headrace.remote.steering import SteeringOptions, steer_service
from headrace.terminal.arguments import grouped_options


@grouped_options
def resume(
    asking: Asking,
    service: ServiceArgument,
    options: SteeringOptions,
    tolerate: Annotated[
        int, typer.Option(min=0, metavar="N", help="So many more failures before it is held back again.")
    ] = 0,
) -> None:
    """Let a service go on with a topic; also where it held a partition back because too many records failed."""
    steer_service(asking, service.value, options, "running", {"tolerate": tolerate} if tolerate else {})
