"""What a run left behind, and whether it is what a run without faults leaves. Pure but for what it reads through.

Compared are the rows of every view in `analytics` (what people read: natural keys, no ids that depend on the order of
arrival), every version of every fact, and of each topic which event ids came and in which order per key. Not
compared: offsets and partitions' interleaving (faults change who appends first), `broker.*` and `ops.*` (positions,
leases and replicas are about the run), `facts.export_days.touched` (counts units, and faults make others), `parked_at`
and `failed_at` (wall clock; there must be no such rows at all), and the times in the notifier's ledger.
"""

from __future__ import annotations

import hashlib
import time
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import psycopg

from shared.broker.contract import Broker, TopicPartition
from shared.topics import DEAD_LETTERS, STREAMS

READ_S, READ_LIMIT_S = 0.1, 60.0
MOST_SHOWN = 3
VIEWS = "SELECT table_name::text FROM information_schema.views WHERE table_schema = 'analytics' ORDER BY 1"
VERSIONS = (
    "SELECT e.event_key, v.kind, v.version, v.known_at, v.revision, v.record_id, md5(v.body)"
    " FROM facts.versions v JOIN facts.events e ON e.id = v.event_id"
)
LEDGER = "SELECT record_id::text || '/' || rule, state, text FROM notifier.ledger"
# Whoever was killed between sending and marking leaves this; nobody can know, so it is listed and not judged.
UNDECIDED = frozenset({"unknown", "sending"})


class Entry(NamedTuple):
    """What matters of a record: who it is, and of which key."""

    key: bytes
    event_id: bytes


@dataclass
class Outcome:
    """All that a run left. `told` is what arrived at the receiver, by the message's id."""

    tables: dict[str, list[str]]
    topics: dict[str, list[Entry]]
    ledger: dict[str, tuple[str, str]]
    told: Counter[str] = field(default_factory=Counter)

    def hashes(self) -> dict[str, str]:
        """One MD5 a table, over its rows in order."""
        return {
            name: hashlib.md5("\n".join(rows).encode(), usedforsecurity=False).hexdigest()
            for name, rows in self.tables.items()
        }


def read(connection: psycopg.Connection[Any], broker: Broker, told: Counter[str]) -> Outcome:
    """The broker is read as committed, without moving anything."""
    queries = {name: f'SELECT * FROM analytics."{name}"' for (name,) in connection.execute(VIEWS).fetchall()}
    queries["versions"] = VERSIONS
    tables = {
        name: sorted(row for (row,) in connection.execute(f"SELECT t::text FROM ({query}) t"))
        for name, query in queries.items()
    }
    ledger = {row[0]: (row[1], row[2]) for row in connection.execute(LEDGER)}
    topics = {topic: entries(broker, topic) for topic in (*STREAMS, *DEAD_LETTERS)}
    return Outcome(tables, topics, ledger, Counter(told))


def entries(broker: Broker, topic: str) -> list[Entry]:
    """Each partition in its order, one partition after the other. Raises TimeoutError."""
    tps = broker.partitions(topic)
    ends, found = broker.end_offsets(tps), {tp: list[Entry]() for tp in tps}
    deadline_s = time.monotonic() + READ_LIMIT_S
    with closing(broker.reader(tps)) as reader:
        for tp, offset in broker.begin_offsets(tps).items():
            reader.seek(tp, offset)
        # Not until a poll finds nothing: a partition may end with offsets that are nobody's.
        while any(reader.position(tp) < ends[tp] for tp in tps):
            for record in reader.poll(READ_S, 2000):
                entry = Entry(record.key, record.headers.get("event_id", b""))
                found[TopicPartition(topic, record.partition)].append(entry)
            if time.monotonic() > deadline_s:
                raise TimeoutError(f"{topic} cannot be read to its end within {READ_LIMIT_S:g} s")
    return [entry for tp in tps for entry in found[tp]]


def problems(serial: Outcome, found: Outcome) -> list[str]:
    """What is wrong, one sentence each; empty where everything is as without faults."""
    wrong = [
        line for topic in (*STREAMS, *DEAD_LETTERS) for line in _topic(topic, serial.topics[topic], found.topics[topic])
    ]
    expected, hashes = serial.hashes(), found.hashes()
    differ = [name for name in sorted(expected) if hashes.get(name) != expected[name]]
    wrong += [_table(name, serial.tables[name], found.tables.get(name, [])) for name in differ]
    return wrong + _notifications(serial, found)


def _topic(topic: str, expected: Sequence[Entry], found: Sequence[Entry]) -> list[str]:
    wanted, got = Counter(expected), Counter(found)
    wrong = []
    if lost := wanted - got:
        wrong.append(f"LOST in {topic}: {lost.total()} of {wanted.total()} records{_some(lost)}")
    if surplus := {entry: n - 1 for entry, n in got.items() if n > 1}:
        wrong.append(f"TWICE in {topic}: {sum(surplus.values())} of {got.total()} records{_some(surplus)}")
    if invented := got.keys() - wanted.keys():
        wrong.append(f"INVENTED in {topic}: {len(invented)} records{_some(dict.fromkeys(invented, 1))}")
    moved = _reordered(expected, found)
    if moved:
        wrong.append(f"REORDERED in {topic}: {len(moved)} keys, first {moved[0].decode()}")
    return wrong


def _reordered(expected: Sequence[Entry], found: Sequence[Entry]) -> list[bytes]:
    """Keys whose records came in another order: of what both have, each at its first place."""
    both = set(expected) & set(found)
    before, after = _by_key(expected, both), _by_key(found, both)
    return sorted(key for key in before if before[key] != after[key])


def _by_key(found: Sequence[Entry], wanted: set[Entry]) -> dict[bytes, list[bytes]]:
    orders: dict[bytes, list[bytes]] = defaultdict(list)
    for entry in dict.fromkeys(found):
        if entry in wanted:
            orders[entry.key].append(entry.event_id)
    return orders


def _table(name: str, expected: Sequence[str], found: Sequence[str]) -> str:
    missing, surplus = Counter(expected) - Counter(found), Counter(found) - Counter(expected)
    shown = [f"without {row}" for row in list(missing)[:MOST_SHOWN]] + [f"with {row}" for row in list(surplus)[:3]]
    return f"TABLE {name}: {missing.total()} rows are missing, {surplus.total()} too many: {'; '.join(shown)}"


def _notifications(serial: Outcome, found: Outcome) -> list[str]:
    wrong = []
    if lost := serial.ledger.keys() - found.ledger.keys():
        wrong.append(f"NOTIFICATIONS LOST: {len(lost)} never written down, first {min(lost)}")
    if invented := found.ledger.keys() - serial.ledger.keys():
        wrong.append(f"NOTIFICATIONS INVENTED: {len(invented)}, first {found.ledger[min(invented)]}")
    both = serial.ledger.keys() & found.ledger.keys()
    if other := [key for key in sorted(both) if serial.ledger[key][1] != found.ledger[key][1]]:
        key = other[0]
        wrong.append(
            f"NOTIFICATIONS OTHERWISE: {len(other)}, first {found.ledger[key][1]!r} not {serial.ledger[key][1]!r}"
        )
    for key, (state, _) in sorted(found.ledger.items()):
        times = found.told[key]
        if times > 1:
            wrong.append(f"TOLD {times} TIMES: {key} ({state})")
        elif times == 0 and state not in UNDECIDED:
            wrong.append(f"NOT TOLD: {key} ({state})")
        elif state not in UNDECIDED | {"sent"}:
            wrong.append(f"NOT SENT: {key} is {state}")
    if ghosts := found.told.keys() - found.ledger.keys():
        wrong.append(f"TOLD AND NOT IN THE LEDGER: {len(ghosts)}, first {min(ghosts)}")
    return wrong


def _some(found: Mapping[Entry, int]) -> str:
    shown = list(found)[:MOST_SHOWN]
    return ": " + ", ".join(f"{entry.event_id.decode()} of {entry.key.decode()}" for entry in shown)
