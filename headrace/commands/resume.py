"""The command `headrace resume`."""

from __future__ import annotations

from typing import Annotated

import typer

from headrace.remote.asking import ApiOptions
from headrace.remote.losses import accept_losses
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
    accept_loss: Annotated[
        bool, typer.Option("--accept-loss", help="Continue behind lost records, on all topics or on TOPIC PARTITION.")
    ] = False,
) -> None:
    """Resume a service on topics. Also releases partitions that were held back because too many records failed.

    With --accept-loss, release the partitions that are held back because records are gone: all of the service, or
    the one of TOPIC PARTITION."""
    if accept_loss:
        accept_losses(api_options, service.value, options.topics or [], options.reason)
        return
    steer_service(api_options, service.value, options, "running", {"tolerate": tolerate} if tolerate else {})
