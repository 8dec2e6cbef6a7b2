"""The command `headrace pause`."""

from __future__ import annotations

from headrace.remote.asking import ApiOptions
from headrace.remote.services import ServiceArgument
from headrace.remote.steering import SteeringOptions, steer_service
from headrace.terminal.arguments import grouped_options


@grouped_options
def pause(api_options: ApiOptions, service: ServiceArgument, options: SteeringOptions) -> None:
    """Pause a service on topics: all its replicas stop handling them until `headrace resume`, also replicas that start
    later.

    With --wait, return after every partition is paused. A service that is not running starts paused.
    """
    steer_service(api_options, service.value, options, "paused", {})
