"""Reads the result of a run, and compares it with the result of a run without faults.

It compares the rows of every view in `analytics` (which have natural keys, and no ids that depend on the order of
arrival), every version of every fact, and for each topic the event ids and their order for each key. It does not
compare offsets and the interleaving of partitions (faults change which replica appends first), `broker.*` and `ops.*`
(positions, leases and replicas belong to the run), `facts.export_days.touched` (counts units, which faults change),
`parked_at` and `failed_at` (wall clock; no such rows may exist), and the times in the notifier's ledger.
"""

from __future__ import annotations

import hashlib
import time
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, NamedTuple

import psycopg

from shared.broker.contract import Broker, Record, TopicPartition
from shared.topics import DEAD_LETTERS, STREAMS

READ_S, READ_LIMIT_S = 0.1, 60.0
MAX_SHOWN = 3
VIEWS = "SELECT table_name::text FROM information_schema.views WHERE table_schema = 'analytics' ORDER BY 1"
VERSIONS = (
    "SELECT e.event_key, v.kind, v.version, v.known_at, v.revision, v.record_id, md5(v.body)"
    " FROM facts.versions v JOIN facts.events e ON e.id = v.event_id"
)
LEDGER = "SELECT record_id::text || '/' || rule, state, text FROM notifier.ledger"
# States of a notification whose sender was killed between sending and marking: it may have arrived or not.
UNDECIDED = frozenset({"unknown", "sending"})


class Entry(NamedTuple):
    """The parts of a record that are compared: its key and its id."""

    key: bytes
    event_id: bytes


Places = dict[Entry, list[str]]
"""Where and when each record was appended: the evidence if it is there twice."""


@dataclass
class Outcome:
    """The result of a run. `places`: of the records of each topic. `received`: how often each message arrived at the
    receiver, by its id."""

    tables: dict[str, list[str]]
    topics: dict[str, list[Entry]]
    places: dict[str, Places]
    ledger: dict[str, tuple[str, str]]
    received: Counter[str] = field(default_factory=Counter)

    def hashes(self) -> dict[str, str]:
        """One MD5 for each table, over its sorted rows."""
        return {
            name: hashlib.md5("\n".join(rows).encode(), usedforsecurity=False).hexdigest()
            for name, rows in self.tables.items()
        }


def read(connection: psycopg.Connection[Any], broker: Broker, received: Counter[str]) -> Outcome:
    """Read the result: only committed records, without changing a position."""
    queries = {name: f'SELECT * FROM analytics."{name}"' for (name,) in connection.execute(VIEWS).fetchall()}
    queries["versions"] = VERSIONS
    tables = {
        name: sorted(row for (row,) in connection.execute(f"SELECT t::text FROM ({query}) t"))
        for name, query in queries.items()
    }
    ledger = {row[0]: (row[1], row[2]) for row in connection.execute(LEDGER)}
    places: dict[str, Places] = {topic: defaultdict(list) for topic in (*STREAMS, *DEAD_LETTERS)}
    topics = {topic: entries(broker, topic, places[topic]) for topic in places}
    return Outcome(tables, topics, places, ledger, Counter(received))


def entries(broker: Broker, topic: str, places: Places) -> list[Entry]:
    """The records of a topic, partition by partition in their order. Adds their places. Raises TimeoutError."""
    tps = broker.partitions(topic)
    ends, by_partition = broker.end_offsets(tps), {tp: list[Entry]() for tp in tps}
    deadline_s = time.monotonic() + READ_LIMIT_S
    with closing(broker.reader(tps)) as reader:
        for tp, offset in broker.begin_offsets(tps).items():
            reader.seek(tp, offset)
        # Read up to the position, not until a poll is empty: a partition may end with offsets without a record.
        while any(reader.position(tp) < ends[tp] for tp in tps):
            for record in reader.poll(READ_S, 2000):
                entry = Entry(record.key, record.headers.get("event_id", b""))
                by_partition[TopicPartition(topic, record.partition)].append(entry)
                places[entry].append(_place(record))
            if time.monotonic() > deadline_s:
                raise TimeoutError(f"{topic} cannot be read to its end within {READ_LIMIT_S:g} s")
    return [entry for tp in tps for entry in by_partition[tp]]


def differences(reference: Outcome, actual: Outcome) -> list[str]:
    """The differences, one line each; empty if the results are equal."""
    lines = [
        line
        for topic in (*STREAMS, *DEAD_LETTERS)
        for line in _topic(topic, reference.topics[topic], actual.topics[topic], actual.places[topic])
    ]
    expected, hashes = reference.hashes(), actual.hashes()
    differ = [name for name in sorted(expected) if hashes.get(name) != expected[name]]
    lines += [_table(name, reference.tables[name], actual.tables.get(name, [])) for name in differ]
    return lines + _notifications(reference, actual)


def _topic(topic: str, expected: Sequence[Entry], actual: Sequence[Entry], places: Places) -> list[str]:
    expected_counts, actual_counts = Counter(expected), Counter(actual)
    lines = []
    if lost := expected_counts - actual_counts:
        lines.append(f"LOST in {topic}: {lost.total()} of {expected_counts.total()} records{_examples(lost)}")
    if surplus := {entry: n - 1 for entry, n in actual_counts.items() if n > 1}:
        lines.append(
            f"TWICE in {topic}: {sum(surplus.values())} of {actual_counts.total()} records{_examples(surplus)}"
        )
        lines += [f"  {entry.event_id.decode()}: {' and '.join(places[entry])}" for entry in list(surplus)[:MAX_SHOWN]]
    if unexpected := actual_counts.keys() - expected_counts.keys():
        lines.append(f"UNEXPECTED in {topic}: {len(unexpected)} records{_examples(dict.fromkeys(unexpected, 1))}")
    moved = _reordered(expected, actual)
    if moved:
        lines.append(f"REORDERED in {topic}: {len(moved)} keys, first {moved[0].decode()}")
    return lines


def _reordered(expected: Sequence[Entry], actual: Sequence[Entry]) -> list[bytes]:
    """Keys whose records have another order. Compares the first occurrences of the records that both have."""
    both = set(expected) & set(actual)
    before, after = _by_key(expected, both), _by_key(actual, both)
    return sorted(key for key in before if before[key] != after[key])


def _by_key(entries: Sequence[Entry], wanted: set[Entry]) -> dict[bytes, list[bytes]]:
    orders: dict[bytes, list[bytes]] = defaultdict(list)
    for entry in dict.fromkeys(entries):
        if entry in wanted:
            orders[entry.key].append(entry.event_id)
    return orders


def _table(name: str, expected: Sequence[str], actual: Sequence[str]) -> str:
    missing, surplus = Counter(expected) - Counter(actual), Counter(actual) - Counter(expected)
    shown = [f"without {row}" for row in list(missing)[:MAX_SHOWN]] + [f"with {row}" for row in list(surplus)[:3]]
    return f"TABLE {name}: {missing.total()} rows are missing, {surplus.total()} too many: {'; '.join(shown)}"


def _notifications(reference: Outcome, actual: Outcome) -> list[str]:
    lines = []
    if lost := reference.ledger.keys() - actual.ledger.keys():
        lines.append(f"NOTIFICATIONS LOST: {len(lost)} missing in the ledger, first {min(lost)}")
    if unexpected := actual.ledger.keys() - reference.ledger.keys():
        lines.append(f"NOTIFICATIONS UNEXPECTED: {len(unexpected)}, first {actual.ledger[min(unexpected)]}")
    both = reference.ledger.keys() & actual.ledger.keys()
    if other := [key for key in sorted(both) if reference.ledger[key][1] != actual.ledger[key][1]]:
        key = other[0]
        lines.append(
            f"NOTIFICATIONS DIFFERENT: {len(other)}, first {actual.ledger[key][1]!r} not {reference.ledger[key][1]!r}"
        )
    for key, (state, _) in sorted(actual.ledger.items()):
        times = actual.received[key]
        if times > 1:
            lines.append(f"RECEIVED {times} TIMES: {key} ({state})")
        elif times == 0 and state not in UNDECIDED:
            lines.append(f"NOT RECEIVED: {key} ({state})")
        elif state not in UNDECIDED | {"sent"}:
            lines.append(f"NOT SENT: {key} is {state}")
    if unrecorded := actual.received.keys() - actual.ledger.keys():
        lines.append(f"RECEIVED AND NOT IN THE LEDGER: {len(unrecorded)}, first {min(unrecorded)}")
    return lines


def _place(record: Record) -> str:
    at = datetime.fromtimestamp(record.timestamp_ms / 1000, UTC)
    return f"partition {record.partition}, offset {record.offset}, {at:%H:%M:%S.%f}"


def _examples(counts: Mapping[Entry, int]) -> str:
    shown = list(counts)[:MAX_SHOWN]
    return ": " + ", ".join(f"{entry.event_id.decode()} of {entry.key.decode()}" for entry in shown)
