"""The command `headrace status`: the state of every service, and what needs attention."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import orjson
import psycopg

from headrace.commands.groups import forgotten_line
from headrace.database.access import Access, access_of, print_notice
from headrace.database.data_dir import DataDir
from headrace.progress.observer import dead_letter_causes, failed_windows
from headrace.progress.replicas import ReplicaStatus, replicas, with_stopped
from headrace.progress.summary import cause_text, window_text
from headrace.terminal.arguments import DatabaseOptions, Output, OutputOption, WideOption, grouped_options
from headrace.terminal.output import print_json, print_table, stdout
from shared.broker.postgres.groups import list_groups
from shared.errors import HeadraceError
from shared.ops.tables import orders as orders_table
from shared.ops.tables.orders import FRESH_S
from shared.settings.sections import Settings

_PAUSED = (
    "SELECT service || ' on ' || topic || ', by ' || ordered_by || coalesce(': ' || reason, '') FROM ops.orders"
    " WHERE desired = 'paused' ORDER BY service, topic"
)
_HELD_BACK = (
    "SELECT o.service || ' on ' || o.topic || '/' || o.p || ' in ' || o.replica || coalesce(': ' || o.cause, '')"
    " || CASE WHEN o.cause LIKE '%`headrace %' THEN ''"
    " ELSE '; `headrace resume ' || o.service || ' ' || o.topic || '` tries again' END FROM ops.observed o"
    " JOIN ops.replicas r USING (service, replica) WHERE o.state = 'tripped' AND r.state <> 'stopped'"
    f" AND r.seen_at > now() - make_interval(secs => {FRESH_S}) ORDER BY 1"
)
# Why no message is sent (services/notifier/sending_hold.py).
_MESSAGES_HELD = (
    "SELECT 'since ' || to_char(since AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI') || ' UTC, '"
    " || (SELECT count(*) FROM notifier.ledger WHERE state IN ('pending', 'sending')) || ' wait: ' || cause ||"
    " '; `headrace notifications discard --until TIME --reason TEXT` discards what people have received, `headrace"
    " notifications release` sends the rest' FROM notifier.sending_hold WHERE address = ''"
)
# Addresses that accept no message (services/notifier/delivery/closed_addresses.py).
_CHANNELS_CLOSED = (
    "SELECT address || ' since ' || to_char(since AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI') || ' UTC, '"
    " || (SELECT count(*) FROM notifier.ledger WHERE channel = address AND state IN ('pending', 'sending'))"
    " || ' wait: ' || cause || '; `headrace notifications release --channel ' || address || '` tries again'"
    " FROM notifier.sending_hold WHERE address <> '' ORDER BY address"
)
_OPEN_OPERATIONS = (
    "SELECT service || ' ' || kind || ' ' || id::bigint || ' ' || state || ', ' || round(progress * 100) || ' %'"
    " || coalesce(', waits: ' || waiting_for, '') FROM ops.operations WHERE finished_at IS NULL ORDER BY id"
)
# Why the fetcher has fetched nothing (services/fetcher/planning/nothing_due.py).
_NOTHING_DUE = (
    "SELECT DISTINCT detail ->> 'warning' FROM ops.replicas WHERE service = 'fetcher' AND state <> 'stopped'"
    f" AND detail ->> 'warning' IS NOT NULL AND seen_at > now() - make_interval(secs => {FRESH_S})"
)
# What its requests wait for (services/fetcher/gate/waits.py).
_WAITS = (
    "SELECT DISTINCT wait ->> 'host' || ': ' || (wait ->> 'reason') || ' until ' || (wait ->> 'until')"
    " FROM ops.replicas, jsonb_array_elements(detail -> 'waits') wait WHERE service = 'fetcher' AND state <> 'stopped'"
    f" AND seen_at > now() - make_interval(secs => {FRESH_S}) ORDER BY 1"
)
_CONTROL = (
    ("nothing due", _NOTHING_DUE), ("source waits", _WAITS), ("paused", _PAUSED), ("held back", _HELD_BACK),
    ("messages held", _MESSAGES_HELD), ("channel closed", _CHANNELS_CLOSED), ("operation", _OPEN_OPERATIONS),
)  # fmt: skip
_PARTITIONS = (
    "SELECT service, replica, count(*), count(*) FILTER (WHERE state = 'paused') FROM ops.observed"
    " GROUP BY service, replica"
)


class PartitionCounts(NamedTuple):
    """How many partitions a replica owns, and how many of them an order pauses."""

    owned: int
    paused: int


@dataclass(frozen=True)
class StatusOverview:
    """`control`: lines about a fetcher with nothing to fetch or with requests that wait, pauses, held-back partitions
    and open operations. `paused`: services with a pause order.
    `partitions`: by service and replica."""

    replicas: Sequence[ReplicaStatus]
    failed: Sequence[Mapping[str, Any]]
    causes: Sequence[Mapping[str, Any]]
    control: Sequence[str] = ()
    paused: frozenset[str] = frozenset()
    partitions: Mapping[tuple[str, str | None], PartitionCounts] = field(default_factory=dict)

    def partitions_of(self, replica: ReplicaStatus) -> PartitionCounts:
        return self.partitions.get((replica.service, replica.replica), PartitionCounts(0, 0))

    def state_text(self, replica: ReplicaStatus) -> str:
        """The replica's own state; in place of `running`, that an order pauses all or some of its partitions."""
        if replica.state != "running" or replica.service not in self.paused:
            return replica.state
        owned, paused = self.partitions_of(replica)
        return "paused" if paused == owned else f"paused: {paused} of {owned} partitions"

    def as_json(self) -> list[dict[str, Any]]:
        return [each.as_json() | self._partitions_json(each) for each in self.replicas]

    def _partitions_json(self, replica: ReplicaStatus) -> dict[str, int | None]:
        owned, paused = (None, None) if replica.replica is None else self.partitions_of(replica)
        return {"partitions": owned, "paused_partitions": paused}


@grouped_options
def status(options: DatabaseOptions, output: OutputOption = Output.TABLE, wide: WideOption = False) -> None:
    """Show all services, failed windows, open dead letters by cause, pauses and open operations. Starts nothing.

    Also shows why the fetcher has fetched nothing, and what its requests wait for, if so."""
    overview = read_overview(options.settings)
    if output is Output.JSON:
        print_json(overview.as_json())
    else:
        print_overview(overview, wide)


def read_overview(settings: Settings) -> StatusOverview:
    """From the database; if it is down, failed windows and open dead letters come from the record of the last run."""
    access = access_of(settings)
    if access.is_up():
        try:
            with access.connect("headrace status") as connection:
                return _from_database(settings, connection)
        except (psycopg.errors.UndefinedTable, psycopg.errors.InvalidSchemaName):  # no migration has run yet
            return StatusOverview(with_stopped([]), [], [])
    if access.server is None:
        print_notice(f"the database does not answer, so this is the record of the last run; {_database_error(access)}")
    return StatusOverview(with_stopped([]), *_read_last_run(settings))


def _from_database(settings: Settings, connection: psycopg.Connection[tuple[Any, ...]]) -> StatusOverview:
    return StatusOverview(
        replicas(connection),
        failed_windows(connection) or _read_last_run(settings)[0],
        dead_letter_causes(connection),
        [
            *(f"{name:<14} {text}" for name, query in _CONTROL for (text,) in connection.execute(query)),
            *(forgotten_line(each) for each in list_groups(connection) if each.is_forgotten),
        ],
        frozenset(service for service, _ in orders_table.paused_topics(connection)),
        {(service, replica): PartitionCounts(*counts) for service, replica, *counts in connection.execute(_PARTITIONS)},
    )


def _database_error(access: Access) -> str:
    try:
        access.require()
    except HeadraceError as error:
        return str(error)
    return "it answers now"


def print_overview(overview: StatusOverview, wide: bool) -> None:
    columns = ("service", "replica", "pid", "state", "ready", "to go", "admin")
    rows = [
        each.as_json()
        | {
            "pid": str(each.pid or ""),
            "state": overview.state_text(each),
            "to go": each.lag_records,
            "admin": each.admin_url,
        }
        for each in overview.replicas
    ]
    print_table(columns, rows, wide=wide)
    console = stdout()
    for window in overview.failed:
        console.print(f"failed window  {window_text(window)}", markup=False)
    for cause in overview.causes:
        console.print(f"dead letters   {cause_text(cause)}", markup=False)
    if not overview.failed and not overview.causes:
        console.print("no failed windows, no open dead letters")
    for line in overview.control:
        console.print(line, markup=False)


def _read_last_run(settings: Settings) -> tuple[list[Mapping[str, Any]], list[Mapping[str, Any]]]:
    """Failed windows and open dead letters by cause, as the last run recorded them."""
    try:
        last_run = orjson.loads(DataDir(settings.data_dir).last_run.read_bytes())
    except (OSError, orjson.JSONDecodeError):
        return [], []
    return last_run.get("failed_windows", []), last_run.get("dead_letters", [])
