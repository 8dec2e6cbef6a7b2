"""Accepts lost records: over REST, or in the database if the service is not running."""

from __future__ import annotations

import getpass
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote

import psycopg

from headrace.database.access import open_existing_database
from headrace.remote.asking import ApiOptions
from headrace.remote.client import urls_of
from headrace.terminal.arguments import Output
from headrace.terminal.output import print_json, stdout
from shared.broker.contract import TopicPartition
from shared.broker.postgres import losses as losses_table
from shared.errors import ConfigError, HeadraceError
from shared.ops.tables import audit as audit_table
from shared.settings.sections import Settings


def accept_losses(asking: ApiOptions, service: str, place: Sequence[str], reason: str | None) -> None:
    """`place`: TOPIC and PARTITION, or nothing for all partitions. Raises HeadraceError if nothing is lost."""
    tp = partition_of(place)
    body = {"reason": reason} if reason else {}
    if asking.url is None and not urls_of(asking.settings, service):
        accepted = _accept_offline(asking.settings, service, tp, body)
    else:
        path = f"/topics/{quote(tp.topic, safe='')}/partitions/{tp.partition}" if tp else "/topics"
        with asking.open_api(service) as client:
            accepted = client.put(f"{path}/accept-loss", body).body["losses"]
    if asking.output is Output.JSON:
        print_json(accepted)
        return
    for each in accepted:
        stdout().print(
            f"{each['topic']}/{each['partition']}: the {service} continues at offset {each['continue_at']}"
            f" (was at {each['position']}, {each['kind']})",
            markup=False,
        )


def partition_of(place: Sequence[str]) -> TopicPartition | None:
    """Raises ConfigError."""
    if not place:
        return None
    if len(place) != 2 or not place[1].isdecimal():  # TOPIC and PARTITION
        raise ConfigError("--accept-loss: expected no topic, for all partitions, or TOPIC PARTITION")
    return TopicPartition(place[0], int(place[1]))


def _accept_offline(
    settings: Settings, service: str, tp: TopicPartition | None, body: Mapping[str, Any]
) -> list[dict[str, Any]]:
    who = f"command:{getpass.getuser()}"
    with open_existing_database(settings) as access, access.connect("headrace command") as connection:
        owner: psycopg.Connection[Any] = connection
        with owner.transaction():
            accepted = [each._asdict() for each in losses_table.accept(owner, service, tp, who)]
            if not accepted:
                raise HeadraceError(f"the {service} does not wait for the acceptance of a loss there")
            target = f"{tp.topic}/{tp.partition}" if tp else "all"
            after = {"losses": accepted, **body}
            audit_table.append(owner, service, who, "accept loss", target, after=after, request_id="command")
    return accepted
