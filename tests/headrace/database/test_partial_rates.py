"""The warning of rates that an earlier version did not compute."""

from __future__ import annotations

from typing import Any

import psycopg

from headrace.database.partial_rates import warning_of_partial_rates


def store_rate(database: psycopg.Connection[Any], scope: str) -> None:
    database.execute("INSERT INTO facts.sources (name) VALUES ('river') ON CONFLICT DO NOTHING")
    database.execute(
        "INSERT INTO facts.return_rates (slot, source_id, scope, key, market, bets, staked, returned, as_of)"
        " SELECT '0', id, %s, '', 'win', 1, 100, 0, now() FROM facts.sources",
        (scope,),
    )


def test_rates_without_months_are_those_of_an_earlier_version(database: psycopg.Connection[Any]) -> None:
    assert warning_of_partial_rates(database) is None

    store_rate(database, "venue")
    assert "headrace db rebuild" in (warning_of_partial_rates(database) or "")

    store_rate(database, "month")
    assert warning_of_partial_rates(database) is None
