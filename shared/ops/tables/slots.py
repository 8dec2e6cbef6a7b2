"""Claims slots for the replicas of a service, in ops.slots.

A slot is claimed by a row with a lease and by an advisory lock of the holder's database session. The server releases
the lock when the process ends, however it ends, so a replica that restarts on its host claims its slot again at once.
The slot of another host is free only after its lease: its replica may be alive without a connection.

Every function commits by itself: call them on a connection in autocommit mode. The lock belongs to that connection.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import chain, count
from typing import NamedTuple
from uuid import UUID

from psycopg.types.json import Jsonb

from shared.database.connection import DbConnection

# The holder renews every second. It keeps its slot through a restart of the database, which takes a few seconds.
LEASE_S = 10.0
_UPSERT = """
INSERT INTO ops.slots (service, slot, host, incarnation, folders, lease_until)
VALUES (%(service)s, %(slot)s, %(host)s, %(incarnation)s, %(folders)s,
    clock_timestamp() + make_interval(secs => %(lease_s)s))
ON CONFLICT (service, slot) DO UPDATE SET host = excluded.host, incarnation = excluded.incarnation,
    folders = excluded.folders, lease_until = excluded.lease_until
"""
_RENEW = f"{_UPSERT} WHERE slots.incarnation = excluded.incarnation OR slots.lease_until < clock_timestamp()"
_CLAIM = f"{_RENEW} OR slots.host = excluded.host"


class Holder(NamedTuple):
    """The process that claims. `folders`: see `other_folders`."""

    service: str
    host: str
    incarnation: UUID
    folders: Mapping[str, str]


def claim(connection: DbConnection, holder: Holder, lease_s: float = LEASE_S) -> str:
    """Claim a free slot: one that this host had, otherwise the lowest number."""
    for slot in _candidates(connection, holder):
        if not lock(connection, holder.service, slot):
            continue
        if _write(connection, _CLAIM, holder, slot, lease_s):
            return slot
        _unlock(connection, holder.service, slot)
    raise AssertionError("there is no end of numbers")


def take(connection: DbConnection, holder: Holder, slot: str, lease_s: float = LEASE_S) -> None:
    """Take a slot that is configured, from its holder if it has one. That process notices when it renews."""
    _write(connection, _UPSERT, holder, slot, lease_s)


def renew(connection: DbConnection, holder: Holder, slot: str, lease_s: float = LEASE_S) -> bool:
    """Extend the lease; False if another process holds the slot. Restores a row that is missing."""
    return _write(connection, _RENEW, holder, slot, lease_s)


def release(connection: DbConnection, holder: Holder, slot: str) -> None:
    connection.execute(
        "DELETE FROM ops.slots WHERE service = %s AND slot = %s AND incarnation = %s",
        (holder.service, slot, holder.incarnation),
    )
    _unlock(connection, holder.service, slot)


def lock(connection: DbConnection, service: str, slot: str) -> bool:
    """Lock the slot for this session; False if another session has locked it."""
    row = connection.execute(
        "SELECT pg_try_advisory_lock(hashtext('headrace slots'), hashtext(%s))", (f"{service}/{slot}",)
    ).fetchone()
    return bool(row and row[0])


def other_folders(connection: DbConnection, holder: Holder) -> list[tuple[str, str]]:
    """(host, purpose) of each folder of a live replica of the service that is not the holder's folder for the same
    purpose."""
    return connection.execute(
        "SELECT host, purpose FROM ops.slots, jsonb_each_text(folders) AS folder (purpose, id)"
        " WHERE service = %(service)s AND incarnation <> %(incarnation)s AND lease_until > clock_timestamp()"
        " AND %(folders)s ? purpose AND %(folders)s ->> purpose <> id ORDER BY 1, 2",
        {"service": holder.service, "incarnation": holder.incarnation, "folders": Jsonb(dict(holder.folders))},
    ).fetchall()


def _candidates(connection: DbConnection, holder: Holder) -> Iterator[str]:
    """The slots to try, in order. Those that another host holds are left out."""
    rows = connection.execute(
        "SELECT slot, host = %s FROM ops.slots WHERE service = %s AND slot ~ '^[0-9]{1,9}$'"
        " AND (host = %s OR lease_until > clock_timestamp())",
        (holder.host, holder.service, holder.host),
    ).fetchall()
    own = sorted((slot for slot, is_own in rows if is_own), key=int)
    excluded = {slot for slot, _ in rows}
    return chain(own, (slot for slot in map(str, count()) if slot not in excluded))


def _write(connection: DbConnection, statement: str, holder: Holder, slot: str, lease_s: float) -> bool:
    row = holder._asdict() | {"folders": Jsonb(dict(holder.folders)), "slot": slot, "lease_s": lease_s}
    return bool(connection.execute(statement, row).rowcount)


def _unlock(connection: DbConnection, service: str, slot: str) -> None:
    connection.execute("SELECT pg_advisory_unlock(hashtext('headrace slots'), hashtext(%s))", (f"{service}/{slot}",))
