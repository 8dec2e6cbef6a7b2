"""The embedded server and the migrations."""

from __future__ import annotations

import psycopg


def test_a_migrated_database_has_every_view(database: psycopg.Connection[tuple[object, ...]]) -> None:
    rows = database.execute("SELECT table_name FROM information_schema.views WHERE table_schema = 'analytics'")

    names = {row[0] for row in rows}

    assert {"sessions", "events", "entities", "entries", "observations", "outcomes", "transactions", "return_rates",
            "predictions", "regressions", "corrections", "parked", "dead_letters"} <= names  # fmt: skip
