"""headrace pause."""

from __future__ import annotations

from headrace.commands.asking import Asking, asks
from headrace.commands.remote import ServiceArgument, WaitOption
from headrace.commands.steering import AllOption, ReasonOption, TopicsArgument, asked_for, steer_service


@asks
def pause(
    asking: Asking,
    service: ServiceArgument,
    topics: TopicsArgument = None,
    all_: AllOption = False,
    wait: WaitOption = False,
    reason: ReasonOption = None,
) -> None:
    """Let a service stop handling a topic, in all its replicas, also those that start later, until it is resumed.

    With --wait until every partition's owner has obeyed. A service that does not run obeys when it is started.
    """
    wish = {"reason": reason} if reason else {}
    steer_service(asking, service.value, asked_for(service.value, topics, all_), "paused", wish, wait)
