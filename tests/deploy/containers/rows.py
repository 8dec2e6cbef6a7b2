"""What is compared: the rows of an installation and of an undisturbed run."""

from __future__ import annotations

from tests.deploy.containers.season import Span
from tests.headrace.runs import TABLES

# After a live day, the versions and times of facts depend on when documents were fetched. The last state does not.
FINAL = {
    **{name: TABLES[name] for name in ("sessions", "entries", "outcomes", "transactions", "return_rates")},
    "events": "SELECT event_key, session_key, number, scheduled_at, status, technique FROM analytics.events",
    "entities": "SELECT entity_key, name FROM analytics.entities",
}


def count_query(span: Span) -> str:
    """The numbers of listed, observed and settled events of these days, as one row."""
    return (
        "SELECT count(*) AS listed, count(observed_at) AS observed, count(settled_at) AS settled FROM facts.events"
        f" JOIN facts.sessions ON sessions.id = session_id WHERE date BETWEEN '{span.first}' AND '{span.last}'"
    )


def differences(expected: dict[str, list[str]], actual: dict[str, list[str]]) -> list[str]:
    """One line for each table whose rows differ, with the first rows that one of both lacks."""
    lines = []
    for name, rows in expected.items():
        missing, surplus = set(rows) - set(actual[name]), set(actual[name]) - set(rows)
        if rows != actual[name]:
            lines.append(
                f"{name}: {len(rows)} rows expected, {len(actual[name])} found; missing {sorted(missing)[:2]};"
                f" surplus {sorted(surplus)[:2]}"
            )
    return lines
