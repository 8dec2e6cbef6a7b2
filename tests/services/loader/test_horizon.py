"""A loader with an as-of limit leaves the same tables as a loader that never received later facts."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from services.loader.load import Loader
from shared.runtime.metrics import Metrics
from tests.services.loader.facts import StillClock, at, listed, observed, outcomes, received, settled
from tests.services.loader.views import tables

pytestmark = pytest.mark.slow
# Two events; the second is listed late, and the first is corrected after it was settled. Each fact with the minute at
# which it is known.
FACTS = [
    (listed(), -300.0),
    (observed(), -10.0),
    (settled(), 20.0),
    (settled(known=50, outcomes=outcomes(2, 1, 3, 4)), 50.0),
    (listed(2, known=-5), -5.0),
    (observed(2, known=-20), -5.0),  # known before its event is listed: counts from the listing
    (settled(2, known=None, known_after_s=900.0), 45.0),  # scheduled 30 minutes after the first
]


def tables_after(
    connection: psycopg.Connection[Any], facts: list[Any], as_of_limit: datetime | None
) -> dict[str, list[str]]:
    loader = Loader(StillClock(), Metrics(), as_of_limit=as_of_limit)
    with connection.transaction(force_rollback=True):
        loader.handle([received(fact) for fact in facts], connection)
        return tables(connection)


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(limit_min=st.integers(-310, 60), order=st.permutations(FACTS))
def test_facts_known_after_the_limit_leave_no_trace(
    connection: psycopg.Connection[Any], limit_min: int, order: list[tuple[Any, float]]
) -> None:
    known = [fact for fact, known_min in order if known_min <= limit_min]

    assert tables_after(connection, [fact for fact, _ in order], at(limit_min)) == tables_after(connection, known, None)


def test_withheld_facts_are_counted(connection: psycopg.Connection[Any]) -> None:
    metrics = Metrics()

    Loader(StillClock(), metrics, as_of_limit=at(0)).handle([received(fact) for fact, _ in FACTS], connection)

    value = metrics.registry.get_sample_value(
        "headrace_records_total", {"service": "loader", "topic": "clean-events", "outcome": "filtered: known later"}
    )
    assert value == 3
