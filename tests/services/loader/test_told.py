"""Each stored version records whether a loaded-event was emitted for it. An audit compares this with the topic."""

from __future__ import annotations

from typing import Any

import psycopg

from tests.services.loader.conftest import Load
from tests.services.loader.facts import listed, observed, settled
from tests.services.loader.views import ask

Connection = psycopg.Connection[Any]


def test_exactly_the_versions_that_emit_a_loaded_event_are_marked(connection: Connection, load: Load) -> None:
    loaded_events = load(listed(), observed(), settled()) + load(
        listed(title="Autumn Cup", known=-200), settled(known=25)
    )

    marked = ask(connection, "SELECT kind, version, told FROM facts.versions ORDER BY 1, 2")

    assert marked == [
        ("listed", 1, True),
        ("listed", 2, True),
        ("observed", 1, True),
        ("settled", 1, True),
        ("settled", 2, False),
    ]
    assert sorted((event.kind, event.version) for event in loaded_events) == [row[:2] for row in marked if row[2]]
