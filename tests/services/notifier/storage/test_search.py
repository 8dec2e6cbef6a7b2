"""What a person types is searched literally."""

from __future__ import annotations

from typing import Any

import psycopg
import pytest

from services.notifier.storage.search import pattern_of


@pytest.mark.parametrize(
    ("typed", "text", "matches"),
    [
        ("eir", "Weir", True),
        ("%", "Weir", False),
        ("_", "Weir", False),
        ("a\\", "a\\b", True),
        ("50%", "50% off", True),
    ],
)
def test_a_pattern_is_literal(database: psycopg.Connection[Any], typed: str, text: str, matches: bool) -> None:
    row = database.execute("SELECT %s::text ILIKE %s", (text, pattern_of(typed))).fetchone()

    assert row == (matches,)
