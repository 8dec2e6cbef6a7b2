"""What `headrace pause` and `headrace resume` share: orders over REST, or, where nobody runs, into the database."""

from __future__ import annotations

import getpass
from typing import Annotated, Any
from urllib.parse import quote

import psycopg
import typer

from headrace.client import Answer, NotRunningError, urls_of
from headrace.commands.arguments import stderr
from headrace.commands.asking import Asking
from headrace.commands.remote import conclude
from headrace.database.access import opened_if_made
from shared.errors import ConfigError
from shared.ops.orders import Desired
from shared.ops.tables import audit as audit_table
from shared.ops.tables.steering import steer
from shared.settings.sections import Settings
from shared.topics import DEAD_LETTERS, READS, WRITES, retry_topic

TopicsArgument = Annotated[list[str] | None, typer.Argument(metavar="[TOPIC]...", help="Which; or --all.")]
AllOption = Annotated[bool, typer.Option("--all", help="All topics of the service.")]
ReasonOption = Annotated[str | None, typer.Option("--reason", metavar="TEXT", help="Why; it is kept.")]
WORDS: dict[Desired, str] = {"paused": "pause", "running": "resume"}


def asked_for(service: str, topics: list[str] | None, all_: bool) -> list[str]:
    """Topics, none of them standing for all."""
    if bool(topics) == all_:
        raise ConfigError(f"which topics? One or more of {', '.join(topics_of(service))}, or --all")
    if unknown := sorted(set(topics or ()) - set(topics_of(service))):
        raise ConfigError(f"the {service} does not work on {unknown[0]!r}; it does on {', '.join(topics_of(service))}")
    return topics or []


def topics_of(service: str) -> tuple[str, ...]:
    """What a service can be paused on."""
    reads = READS[service]
    if not reads:
        return WRITES[service]
    return (*reads, *(DEAD_LETTERS if service == "loader" else ()), retry_topic(service))


def steer_service(
    asking: Asking, service: str, topics: list[str], desired: Desired, wish: dict[str, Any], wait: bool
) -> None:
    word = WORDS[desired]
    if asking.url is None and not urls_of(asking.settings, service):
        _without_the_service(asking.settings, service, topics or list(topics_of(service)), desired, wish, wait)
        return
    with asking.api(service) as asked:
        paths = [f"/topics/{quote(topic, safe='')}/{word}" for topic in topics] or [f"/topics/{word}"]
        answers: list[Answer] = [asked.put(path, wish) for path in paths]
        for answer in answers:
            conclude(asked, answer, wait, asking.output)


def _without_the_service(
    settings: Settings, service: str, topics: list[str], desired: Desired, wish: dict[str, Any], wait: bool
) -> None:
    """The order goes into the database, where every replica reads it before its first record."""
    if wait:
        raise NotRunningError(f"the {service} is not running, so nobody would obey: give the order without --wait")
    who = f"command:{getpass.getuser()}"
    with opened_if_made(settings) as access, access.connect("headrace command") as connection:
        owner: psycopg.Connection[Any] = connection
        with owner.transaction():
            steer(
                owner, service, topics, desired, who=who, request_id="command", reason=wish.get("reason"),
                tolerate=wish.get("tolerate", 0),
            )  # fmt: skip
            audit_table.note(
                owner, service, who, WORDS[desired], ", ".join(topics), after={"desired": desired, **wish},
                request_id="command",
            )  # fmt: skip
    stderr().print(f"the {service} is not running; it will be {desired} on {', '.join(topics)} when it is started")
