"""Sends pause and resume orders: over REST, or into the database if the service is not running."""

from __future__ import annotations

import getpass
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any
from urllib.parse import quote

import psycopg
import typer

from headrace.database.access import opened_if_made
from headrace.remote.asking import Asking
from headrace.remote.client import Answer, NotRunningError, urls_of
from headrace.remote.services import WaitOption, conclude
from headrace.terminal.output import stderr
from shared.errors import ConfigError
from shared.ops.orders import Desired
from shared.ops.tables import audit as audit_table
from shared.ops.tables.steering import steer
from shared.settings.sections import Settings
from shared.topics import DEAD_LETTERS, READS, WRITES, retry_topic

WORDS: dict[Desired, str] = {"paused": "pause", "running": "resume"}


@dataclass(frozen=True)
class SteeringOptions:
    """The options of pause and resume."""

    topics: Annotated[list[str] | None, typer.Argument(metavar="[TOPIC]...", help="Topics; or use --all.")] = None
    all_: Annotated[bool, typer.Option("--all", help="All topics of the service.")] = False
    wait: WaitOption = False
    reason: Annotated[str | None, typer.Option("--reason", metavar="TEXT", help="Reason, stored with the order.")] = (
        None
    )

    def topics_for(self, service: str) -> list[str]:
        """The topics; an empty list means all of them. Raises ConfigError."""
        known = topics_of(service)
        if bool(self.topics) == self.all_:
            raise ConfigError(f"expected one or more of {', '.join(known)}, or --all")
        if unknown := sorted(set(self.topics or ()) - set(known)):
            raise ConfigError(f"the {service} has no topic {unknown[0]!r}; its topics: {', '.join(known)}")
        return self.topics or []


def topics_of(service: str) -> tuple[str, ...]:
    """The topics that a service can pause."""
    reads = READS[service]
    if not reads:
        return WRITES[service]
    return (*reads, *(DEAD_LETTERS if service == "loader" else ()), retry_topic(service))


def steer_service(
    asking: Asking, service: str, options: SteeringOptions, desired: Desired, more: Mapping[str, Any]
) -> None:
    """Orders a state of topics. `more` holds fields of the request body beside the reason."""
    topics, word = options.topics_for(service), WORDS[desired]
    wish = ({"reason": options.reason} if options.reason else {}) | dict(more)
    if asking.url is None and not urls_of(asking.settings, service):
        if options.wait:
            raise NotRunningError(
                f"the {service} is not running and cannot obey the order: run the command without --wait"
            )
        _without_the_service(asking.settings, service, topics or list(topics_of(service)), desired, wish)
        return
    with asking.api(service) as asked:
        paths = [f"/topics/{quote(topic, safe='')}/{word}" for topic in topics] or [f"/topics/{word}"]
        answers: list[Answer] = [asked.put(path, wish) for path in paths]
        for answer in answers:
            conclude(asked, answer, options.wait, asking.output)


def _without_the_service(
    settings: Settings, service: str, topics: list[str], desired: Desired, wish: dict[str, Any]
) -> None:
    """Stores the order in the database, where every replica reads it before its first record."""
    who = f"command:{getpass.getuser()}"
    with opened_if_made(settings) as access, access.connect("headrace command") as connection:
        owner: psycopg.Connection[Any] = connection
        with owner.transaction():
            steer(
                owner, service, topics, desired, who=who, request_id="command", reason=wish.get("reason"),
                tolerate=wish.get("tolerate", 0),
            )  # fmt: skip
            named, after = ", ".join(topics), {"desired": desired, **wish}
            audit_table.note(owner, service, who, WORDS[desired], named, after=after, request_id="command")
    stderr().print(f"the {service} is not running; it will be {desired} on {', '.join(topics)} when it is started")
