"""Notices rows that an earlier version did not compute, and that only `headrace db rebuild` adds."""

from __future__ import annotations

from shared.database.connection import DbConnection

# A loader of this version adds the rates of months with the first event that it settles: before that, none has one.
_PARTIAL = """
SELECT EXISTS (SELECT FROM facts.return_rates) AND NOT EXISTS (SELECT FROM facts.return_rates WHERE scope = 'month')"""


def warning_of_partial_rates(connection: DbConnection) -> str | None:
    """What to do if an earlier version loaded events, else None. Call after the migrations."""
    row = connection.execute(_PARTIAL).fetchone()
    if row is None or not row[0]:
        return None
    return (
        "an earlier version loaded events: their return rates by month and selection and the profiles of their entities"
        " are missing until `headrace db rebuild`"
    )
