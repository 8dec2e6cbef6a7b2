"""Sends pause and resume orders: over REST, or into the database if the service is not running."""

from __future__ import annotations

import getpass
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any
from urllib.parse import quote

import psycopg
import typer

from headrace.database.access import open_existing_database
from headrace.remote.asking import ApiOptions
from headrace.remote.client import ApiResponse, NotRunningError, urls_of
from headrace.remote.services import WaitOption, print_operation
from headrace.terminal.output import stderr
from shared.errors import ConfigError
from shared.ops.orders import DesiredState
from shared.ops.tables import audit as audit_table
from shared.ops.tables.steering import steer
from shared.settings.sections import Settings
from shared.topics import DEAD_LETTERS, READS, WRITES, retry_topic

WORDS: dict[DesiredState, str] = {"paused": "pause", "running": "resume"}


def complete_topic(context: typer.Context, incomplete: str) -> list[str]:
    """The topics of the service on the command line, for the completion of a shell."""
    service = context.params.get("service")
    return [topic for topic in topics_of(service) if topic.startswith(incomplete)] if service else []


@dataclass(frozen=True)
class SteeringOptions:
    """The options of pause and resume."""

    topics: Annotated[
        list[str] | None,
        typer.Argument(metavar="[TOPIC]...", help="Topics; or use --all.", autocompletion=complete_topic),
    ] = None
    all_: Annotated[bool, typer.Option("--all", help="All topics of the service.")] = False
    wait: WaitOption = False
    reason: Annotated[str | None, typer.Option("--reason", metavar="TEXT", help="Reason, stored with the order.")] = (
        None
    )

    def topics_for(self, service: str) -> list[str]:
        """The topics; an empty list means all of them. Raises ConfigError."""
        valid = topics_of(service)
        if bool(self.topics) == self.all_:
            raise ConfigError(f"expected one or more of {', '.join(valid)}, or --all")
        if unknown := sorted(set(self.topics or ()) - set(valid)):
            raise ConfigError(f"the {service} has no topic {unknown[0]!r}; its topics: {', '.join(valid)}")
        return self.topics or []


def topics_of(service: str) -> tuple[str, ...]:
    """The topics that a service can pause."""
    reads = READS[service]
    if not reads:
        return WRITES[service]
    return (*reads, *(DEAD_LETTERS if service == "loader" else ()), retry_topic(service))


def steer_service(
    asking: ApiOptions, service: str, options: SteeringOptions, desired: DesiredState, more: Mapping[str, Any]
) -> None:
    """Orders a state of topics. `more` holds fields of the request body beside the reason."""
    topics, word = options.topics_for(service), WORDS[desired]
    body = ({"reason": options.reason} if options.reason else {}) | dict(more)
    if asking.url is None and not urls_of(asking.settings, service):
        if options.wait:
            raise NotRunningError(
                f"the {service} is not running and cannot obey the order: run the command without --wait"
            )
        _steer_offline(asking.settings, service, topics or list(topics_of(service)), desired, body)
        return
    with asking.open_api(service) as client:
        paths = [f"/topics/{quote(topic, safe='')}/{word}" for topic in topics] or [f"/topics/{word}"]
        answers: list[ApiResponse] = [client.put(path, body) for path in paths]
        for answer in answers:
            print_operation(client, answer, options.wait, asking.output)


def _steer_offline(
    settings: Settings, service: str, topics: list[str], desired: DesiredState, body: dict[str, Any]
) -> None:
    """Stores the order in the database, where every replica reads it before its first record."""
    who = f"command:{getpass.getuser()}"
    with open_existing_database(settings) as access, access.connect("headrace command") as connection:
        owner: psycopg.Connection[Any] = connection
        with owner.transaction():
            steer(
                owner, service, topics, desired, who=who, request_id="command", reason=body.get("reason"),
                tolerate=body.get("tolerate", 0),
            )  # fmt: skip
            names, after = ", ".join(topics), {"desired": desired, **body}
            audit_table.append(owner, service, who, WORDS[desired], names, after=after, request_id="command")
    stderr().print(f"the {service} is not running; it will be {desired} on {', '.join(topics)} when it is started")
