"""headrace pause."""

from __future__ import annotations

from headrace.remote.asking import Asking
from headrace.remote.services import ServiceArgument
from headrace.remote.steering import SteeringOptions, steer_service
from headrace.terminal.arguments import grouped_options


@grouped_options
def pause(asking: Asking, service: ServiceArgument, options: SteeringOptions) -> None:
    """Let a service stop handling a topic, in all its replicas, also those that start later, until it is resumed.

    With --wait until every partition's owner has obeyed. A service that does not run obeys when it is started.
    """
    steer_service(asking, service.value, options, "paused", {})
