"""The command `headrace resume`."""

from __future__ import annotations

from typing import Annotated

import typer

from headrace.remote.asking import ApiOptions
from headrace.remote.services import ServiceArgument
from headrace.remote.steering import SteeringOptions, steer_service
from headrace.terminal.arguments import grouped_options


@grouped_options
def resume(
    api_options: ApiOptions,
    service: ServiceArgument,
    options: SteeringOptions,
    tolerate: Annotated[
        int, typer.Option(min=0, metavar="N", help="Tolerate N more failures before holding back again.")
    ] = 0,
) -> None:
    """Resume a service on topics. Also releases partitions that were held back because too many records failed."""
    steer_service(api_options, service.value, options, "running", {"tolerate": tolerate} if tolerate else {})
