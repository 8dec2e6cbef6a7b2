"""What each login may write, table by table: the expectation of test_rights.py and the table of docs/security.md.

A cell names verbs: `insert` means any row, `insert own` only rows of the service itself.
"""

from __future__ import annotations

from shared.topics import SERVICES

SERVICE_ROLES = tuple(f"headrace_{service}" for service in SERVICES)
READER = "headrace_reader"
VERBS = ("insert", "update", "delete", "truncate")

_OWN_AND_EXPIRED = {"all": "insert own, update own, delete own", "loader": "insert own, update own, delete own/expired"}
# By table, then by service; `all` stands for the five services. What is not named is refused.
WRITES: dict[str, dict[str, str]] = {
    "broker.topics": {},
    "broker.topic_rights": {},
    "broker.kind": {},
    "broker.partitions": {"all": "update own", "loader": "update relayed", "notifier": "update relayed"},
    "broker.log": {
        "all": "insert own",
        "loader": "insert own, delete relayed",
        "notifier": "insert own, delete relayed",
    },
    "broker.segments": {},
    "broker.positions": {"all": "insert own, update own"},
    "broker.leases": _OWN_AND_EXPIRED,
    "broker.members": _OWN_AND_EXPIRED,
    "broker.slots": {"all": "insert own, update own", "loader": "insert own, update own, delete expired"},
    "broker.cursors": {"all": "insert own, update own", "loader": "insert own, update own, delete expired"},
    "broker.checkpoints": {"all": "insert own, update own, delete own"},
    "broker.losses": {"all": "insert own, update own, delete own"},
    "broker.outbox": {},
    "ops.migrations": {},
    "ops.replicas": _OWN_AND_EXPIRED,
    "ops.orders": {"all": "insert own, update own"},
    "ops.observed": _OWN_AND_EXPIRED,
    "ops.operations": {"all": "insert own, update own", "loader": "insert own, update own, delete expired"},
    "ops.plans": {"all": "insert own, delete expired"},
    "ops.dead_letters_settled": {"all": "insert own", "loader": "insert own, delete expired"},
    "ops.audit": {"all": "insert own"},
    "ops.tokens": {},
    "ops.idempotency": {"all": "insert own, delete own"},
    "ops.slots": _OWN_AND_EXPIRED,
    "ops.audit_results": {},
    "ops.quality_results": {},
    "ops.lag_history": {"all": "insert own, delete own"},
    "ops.holds": {"all": "insert own, update own, delete own"},
    "ops.attempts": {"all": "insert own, update own, delete own"},
    "fetcher.gates": {"fetcher": "insert, update, delete"},
    "facts.versions": {"loader": "insert"},
    "notifier.ledger": {"notifier": "insert, update, delete"},
    "notifier.incidents": {"notifier": "insert, update, delete"},
    "notifier.mutes": {"notifier": "insert, update, delete"},
    "notifier.bot_state": {"notifier": "insert, update"},
    "notifier.interactions": {"notifier": "insert, update, delete"},
    "notifier.subscriptions": {"notifier": "insert, update, delete"},
    "notifier.sending_hold": {"notifier": "insert, delete"},
}
# Every other table of a schema; the partitions of the trail and of the log are written through their table only.
REST = {"facts": {"loader": "insert, update, delete"}, "analytics": {}}

MEANINGS = {
    "own": "rows of the service itself: its topics, its group, its operations, lines of the trail with its name",
    "relayed": "its own rows, and those of the local topics that the relay copies to Kafka",
    "expired": "rows that are older than their retention",
}


def is_decided(table: str) -> bool:
    """Whether this file says who may write the table."""
    return table in WRITES or table.partition(".")[0] in REST or table.startswith(("ops.audit_2", "broker.log_"))


def expected(table: str, role: str) -> dict[str, str]:
    """The verbs that a role may use on a table, each with the rows: `any`, or a word of MEANINGS."""
    by_service = WRITES.get(table, REST.get(table.partition(".")[0], {}))
    service = role.removeprefix("headrace_")
    cell = by_service.get(service, by_service.get("all", "") if role in SERVICE_ROLES else "")
    verbs = [part.split() for part in cell.split(", ") if part]
    return {verb: rows[0] if rows else "any" for verb, *rows in verbs}


def markdown() -> str:
    """The table of docs/security.md."""
    lines = ["| table | who | may |", "| --- | --- | --- |"]
    for table, by_service in WRITES.items():
        for who, cell in (by_service or {"no service": "only the owner writes"}).items():
            name = "each service" if who == "all" else who
            lines.append(f"| `{table}` | {name} | {cell} |")
    for schema, by_service in REST.items():
        for who, cell in (by_service or {"no service": "views: only reading"}).items():
            lines.append(f"| other tables of `{schema}` | {who} | {cell} |")
    meanings = [f"* *{word}*: {text}." for word, text in MEANINGS.items()]
    return "\n".join([*lines, "", *meanings])
