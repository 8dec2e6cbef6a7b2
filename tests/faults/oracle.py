"""Reads the result of a run, and compares it with the result of a run without faults.

It compares the rows of every view in `analytics` (which have natural keys, and no ids that depend on the order of
arrival), every version of every fact, and for each topic the records with their bytes and their order for each key.
It does not compare the fields of records that belong to a run (`topics.RUN_FIELDS`), offsets and the interleaving of
partitions (faults change which replica appends first), `broker.*` and `ops.*` (positions, leases and replicas belong to
the run), `facts.export_days.touched` (counts units, which faults change), `parked_at` and `failed_at` (wall clock; no
such rows may exist), and the times in the notifier's ledger.
"""

from __future__ import annotations

import hashlib
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import psycopg

from tests.faults.allowance import Allowance
from tests.faults.topics import TOPICS, Entry, Occurrence, TopicHistory

MAX_SHOWN = 3
VIEWS = "SELECT table_name::text FROM information_schema.views WHERE table_schema = 'analytics' ORDER BY 1"
VERSIONS = (
    "SELECT e.event_key, v.kind, v.version, v.known_at, v.revision, v.record_id, md5(v.body)"
    " FROM facts.versions v JOIN facts.events e ON e.id = v.event_id"
)
LEDGER = """SELECT record_id::text || '/' || rule, state, text, coalesce(claimed_by::text, ''), event_key, rule
    FROM notifier.ledger"""
# States of a notification whose sender was killed between sending and marking: it may have arrived or not.
UNDECIDED = frozenset({"unknown", "sending"})
# In place of an event, messages about the system itself name an incident: accidents cause alerts.
INCIDENT = "incident/"
# A sender leaves the message in hand, and perhaps another one, whose claim was committed after its connection broke.
MOST_OF_A_SENDER = 2


class Notification(NamedTuple):
    """A row of the ledger. `sender`: an id of the sender that claimed it last, empty if none did."""

    state: str
    text: str
    sender: str = ""
    event_key: str = ""
    rule: str = ""


@dataclass
class Outcome:
    """The result of a run. `received`: how often each message arrived at the receiver, by its id."""

    tables: dict[str, list[str]]
    topics: dict[str, list[Occurrence]]
    ledger: dict[str, Notification]
    received: Counter[str] = field(default_factory=Counter)

    def hashes(self) -> dict[str, str]:
        """One MD5 for each table, over its sorted rows."""
        return {
            name: hashlib.md5("\n".join(rows).encode(), usedforsecurity=False).hexdigest()
            for name, rows in self.tables.items()
        }


def read(connection: psycopg.Connection[Any], history: TopicHistory, received: Counter[str]) -> Outcome:
    """Read the rows. `history` has the records."""
    queries = {name: f'SELECT * FROM analytics."{name}"' for (name,) in connection.execute(VIEWS).fetchall()}
    queries["versions"] = VERSIONS
    tables = {
        name: sorted(row for (row,) in connection.execute(f"SELECT t::text FROM ({query}) t"))
        for name, query in queries.items()
    }
    ledger = {row[0]: Notification(*row[1:]) for row in connection.execute(LEDGER)}
    return Outcome(tables, history.by_topic(), ledger, Counter(received))


def differences(reference: Outcome, actual: Outcome, allowance: Allowance | None = None) -> list[str]:
    """The differences that the faults do not allow, one line each; empty if there are none."""
    allowance = allowance or Allowance()
    lines = [
        line
        for topic in TOPICS
        for line in _topic(topic, reference.topics[topic], actual.topics[topic], allowance.repeats[topic])
    ]
    expected, hashes = reference.hashes(), actual.hashes()
    differ = [name for name in sorted(expected) if hashes.get(name) != expected[name]]
    lines += [_table(name, reference.tables[name], actual.tables.get(name, [])) for name in differ]
    return lines + _ledger(reference, actual, allowance) + _deliveries(actual, allowance)


def _topic(topic: str, expected: Sequence[Occurrence], actual: Sequence[Occurrence], repeats: int) -> list[str]:
    expected_counts, actual_counts = (Counter(each.entry for each in records) for records in (expected, actual))
    lines = []
    if lost := expected_counts - actual_counts:
        lines.append(f"LOST in {topic}: {lost.total()} of {expected_counts.total()} records{_examples(lost)}")
    if surplus := {entry: n - 1 - repeats for entry, n in actual_counts.items() if n > 1 + repeats}:
        lines.append(
            f"TWICE in {topic}: {sum(surplus.values())} of {actual_counts.total()} records{_examples(surplus)}"
        )
        lines += [f"  {entry.event_id.decode()}: {_places(actual, entry)}" for entry in list(surplus)[:MAX_SHOWN]]
    if unexpected := actual_counts.keys() - expected_counts.keys():
        lines.append(f"UNEXPECTED in {topic}: {len(unexpected)} records{_examples(dict.fromkeys(unexpected, 1))}")
    if different := _different(expected, actual):
        lines.append(f"DIFFERENT BYTES in {topic}: {len(different)} records{_examples(dict.fromkeys(different, 1))}")
    if moved := _reordered([each.entry for each in expected], [each.entry for each in actual]):
        lines.append(f"REORDERED in {topic}: {len(moved)} keys, first {moved[0].decode()}")
    return lines


def _different(expected: Sequence[Occurrence], actual: Sequence[Occurrence]) -> list[Entry]:
    """Records of both that have other bytes, in any of their occurrences."""
    digests = {each.entry: each.digest for each in expected}
    return sorted({each.entry for each in actual if digests.get(each.entry, each.digest) != each.digest})


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


def _ledger(reference: Outcome, actual: Outcome, allowance: Allowance) -> list[str]:
    lines = []
    missing = reference.ledger.keys() - actual.ledger.keys()
    if lost := {key for key in missing if not allowance.may_be_unnotified(reference.ledger[key].event_key)}:
        lines.append(f"NOTIFICATIONS LOST: {len(lost)} missing in the ledger, first {min(lost)}")
    messages = {key for key, each in actual.ledger.items() if not each.event_key.startswith(INCIDENT)}
    if unexpected := messages - reference.ledger.keys():
        lines.append(f"NOTIFICATIONS UNEXPECTED: {len(unexpected)}, first {actual.ledger[min(unexpected)].text!r}")
    both = reference.ledger.keys() & actual.ledger.keys()
    if other := [key for key in sorted(both) if reference.ledger[key].text != actual.ledger[key].text]:
        key = other[0]
        lines.append(
            f"NOTIFICATIONS DIFFERENT: {len(other)}, first {actual.ledger[key].text!r} not"
            f" {reference.ledger[key].text!r}"
        )
    return lines + _undecided(actual, allowance)


def _undecided(actual: Outcome, allowance: Allowance) -> list[str]:
    """Each sender that ended explains what it had in hand. A message that no sender had claimed has no explanation."""
    undecided = {key: each for key, each in sorted(actual.ledger.items()) if each.state in UNDECIDED}
    senders = Counter(each.sender or key for key, each in undecided.items())
    if len(senders) <= allowance.undecided and all(count <= MOST_OF_A_SENDER for count in senders.values()):
        return []
    counts = f"{len(undecided)} of {len(actual.ledger)}, left by {len(senders)} senders"
    return [f"NOTIFICATIONS UNDECIDED: {counts}, and the faults explain {allowance.undecided}; first {min(undecided)}"]


def _deliveries(actual: Outcome, allowance: Allowance) -> list[str]:
    lines = []
    for key, notification in sorted(actual.ledger.items()):
        state, times = notification.state, actual.received[key]
        if (
            times
            > 1 + allowance.received_again[key] + allowance.answered_late[notification.event_key, notification.rule]
        ):
            lines.append(f"RECEIVED {times} TIMES: {key} ({state})")
        elif times == 0 and state not in UNDECIDED:
            lines.append(f"NOT RECEIVED: {key} ({state})")
        elif state not in UNDECIDED | {"sent"}:
            lines.append(f"NOT SENT: {key} is {state}")
    if unrecorded := actual.received.keys() - actual.ledger.keys():
        lines.append(f"RECEIVED AND NOT IN THE LEDGER: {len(unrecorded)}, first {min(unrecorded)}")
    return lines


def _places(records: Sequence[Occurrence], entry: Entry) -> str:
    return " and ".join(each.place for each in records if each.entry == entry)


def _examples(counts: Mapping[Entry, int]) -> str:
    shown = list(counts)[:MAX_SHOWN]
    return ": " + ", ".join(f"{entry.event_id.decode()} of {entry.key.decode()}" for entry in shown)
