"""Seasons for the tests: one with the real source's rates, one in which every anomaly occurs."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from simulator.races import Race
from simulator.rates import AnomalyRates
from simulator.season import SeasonPlan, SimulatedSeason

ODD = 25.0


class SettableClock:
    """A clock that shows what it is set to."""

    def __init__(self, at: datetime) -> None:
        self.at = at

    def now(self) -> datetime:
        return self.at.astimezone(UTC)


def races_of(plan: SeasonPlan) -> list[Race]:
    season = SimulatedSeason(plan)
    return [race for n in range(plan.days) for race in season.races(plan.first_date + timedelta(days=n))]


@pytest.fixture
def clock() -> SettableClock:
    """Set by the test, read by the server."""
    return SettableClock(datetime(2026, 1, 10, 3, 0, tzinfo=UTC))


@pytest.fixture(scope="session")
def usual_races() -> list[Race]:
    """9,600 races at the real source's rates."""
    return races_of(SeasonPlan(seed=11, days=200))


@pytest.fixture(scope="session")
def odd_races() -> list[Race]:
    """2,880 races at many times the real rates."""
    return races_of(SeasonPlan(seed=5, days=60, rates=AnomalyRates().multiplied_by(ODD)))
