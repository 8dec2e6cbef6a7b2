"""Each version says whether it was told downstream: what an audit looks for in loaded-events."""

from __future__ import annotations

from typing import Any

import psycopg

from tests.services.loader.conftest import Load
from tests.services.loader.facts import listed, observed, settled
from tests.services.loader.views import ask

Connection = psycopg.Connection[Any]


def test_exactly_the_versions_of_which_a_loaded_event_goes_out_are_marked(connection: Connection, load: Load) -> None:
    told = load(listed(), observed(), settled()) + load(listed(title="Autumn Cup", known=-200), settled(known=25))

    marked = ask(connection, "SELECT kind, version, told FROM facts.versions ORDER BY 1, 2")

    assert marked == [
        ("listed", 1, True),
        ("listed", 2, True),
        ("observed", 1, True),
        ("settled", 1, True),
        ("settled", 2, False),
    ]
    assert sorted((event.kind, event.version) for event in told) == [row[:2] for row in marked if row[2]]
