"""What is public at an instant, by path."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from simulator.documents import FEEDS
from simulator.publisher import Publisher
from simulator.rates import AnomalyRates
from simulator.season import SeasonPlan, SimulatedSeason
from simulator.stages import PublicationSchedule
from simulator.versions import JST
from tests.simulator.documented_keys import boats_of

PLAN = SeasonPlan(days=10)


@pytest.fixture(scope="module")
def publisher() -> Publisher:
    return Publisher(SimulatedSeason(PLAN), PublicationSchedule())


def at(day: int, hour: int, minute: int = 0) -> datetime:
    """An instant of January 2026, given in Japanese time."""
    return datetime(2026, 1, day, hour, minute, tzinfo=JST).astimezone(UTC)


def content(publisher: Publisher, path: str, now: datetime) -> list[dict[str, Any]] | None:
    page = publisher.page(path, now)
    if page is None:
        return None
    races: list[dict[str, Any]]
    (races,) = json.loads(page.body).values()
    return races


def day_of(publisher: Publisher, feed: str, now: datetime) -> str | None:
    races = content(publisher, f"/{feed}/v2/today.json", now)
    return None if races is None else races[0]["race_date"]


@pytest.mark.parametrize("feed", FEEDS)
def test_a_day_has_no_document_before_its_first_publication(feed: str, publisher: Publisher) -> None:
    path = f"/{feed}/v2/2026/20260105.json"

    assert publisher.page(path, at(5, 0, 5)) is None
    assert publisher.page(path, at(5, 0, 45)) is not None


@pytest.mark.parametrize("feed", FEEDS)
def test_today_holds_the_day_before_until_the_first_publication(feed: str, publisher: Publisher) -> None:
    assert day_of(publisher, feed, at(5, 0, 5)) == "2026-01-04"
    assert day_of(publisher, feed, at(5, 0, 45)) == "2026-01-05"


def test_the_feeds_disagree_about_the_date_for_half_an_hour(publisher: Publisher) -> None:
    dates = [day_of(publisher, feed, at(5, 0, 20)) for feed in FEEDS]

    assert dates == ["2026-01-05", "2026-01-04", "2026-01-05"]


def test_nothing_is_public_before_the_season_and_the_last_day_stays_after_it(publisher: Publisher) -> None:
    assert publisher.page("/programs/v2/today.json", at(1, 0, 0)) is None
    assert day_of(publisher, "programs", at(25, 12)) == "2026-01-10"


def test_a_past_day_is_the_same_at_any_later_time(publisher: Publisher) -> None:
    path = "/results/v2/2026/20260103.json"

    assert publisher.page(path, at(4, 12)) == publisher.page(path, at(9, 12))


def test_today_and_the_dated_file_are_the_same_version(publisher: Publisher) -> None:
    for feed in FEEDS:
        now = at(6, 13, 17)
        assert publisher.page(f"/{feed}/v2/today.json", now) == publisher.page(f"/{feed}/v2/2026/20260106.json", now)


def test_a_version_keeps_its_tag_and_instant_until_the_next_publication(publisher: Publisher) -> None:
    pages = [publisher.page("/results/v2/today.json", at(6, 13, minute)) for minute in range(60)]
    instants = [page.published_at for page in pages if page]

    assert all(instant.minute % 5 == 0 and instant.second == 0 for instant in instants)
    assert all(instant <= at(6, 13, minute) for minute, instant in enumerate(instants))
    assert len({page.tag for page in pages if page}) == len(set(instants)) > 3


def test_over_a_day_observations_come_before_results_and_results_after_deadlines() -> None:
    publisher = Publisher(
        SimulatedSeason(SeasonPlan(days=2, rates=AnomalyRates().multiplied_by(0))),
        PublicationSchedule(preview_share=1.0),
    )
    observed: dict[tuple[int, int], datetime] = {}
    settled: dict[tuple[int, int], datetime] = {}
    for minute in range(9 * 60, 18 * 60, 5):
        now = at(2, minute // 60, minute % 60)
        for race in content(publisher, "/previews/v2/today.json", now) or []:
            if any(boat["racer_exhibition_time"] for boat in boats_of(race)):
                observed.setdefault((race["race_stadium_number"], race["race_number"]), now)
        for race in content(publisher, "/results/v2/today.json", now) or []:
            if race["payouts"]["win"]:
                settled.setdefault((race["race_stadium_number"], race["race_number"]), now)
    deadlines = {
        (race["race_stadium_number"], race["race_number"]): datetime.fromisoformat(race["race_closed_at"] + "+09:00")
        for race in content(publisher, "/programs/v2/today.json", at(2, 23)) or []
    }

    assert set(observed) == set(settled) == set(deadlines)
    for key, deadline in deadlines.items():
        assert deadline - timedelta(minutes=30) < observed[key] < deadline
        assert deadline + timedelta(minutes=10) <= settled[key] <= deadline + timedelta(minutes=25)


def test_the_truth_covers_every_race_and_sums_to_one(publisher: Publisher) -> None:
    truth = content(publisher, "/truth/v1/2026/20260105.json", at(5, 0, 1))
    listed = content(publisher, "/programs/v2/2026/20260105.json", at(5, 1))
    key = ("race_date", "race_stadium_number", "race_number")

    assert truth is not None
    assert listed is not None
    assert [[race[k] for k in key] for race in truth] == [[race[k] for k in key] for race in listed]
    for race in truth:
        assert sum(race["p_win"]) == pytest.approx(1.0)
        assert sum(race["p_win_listed"]) == pytest.approx(1.0)


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/programs",
        "/programs/v2/2026/20260230.json",
        "/programs/v2/2025/20260105.json",
        "/programs/v2/2026/20260105.json.gz",
        "/programs/v2/2026/2026010５.json",
        "/programs/v1/2026/20260105.json",
        "/odds/v2/2026/20260105.json",
        "/programs/v2/2025/20251231.json",
        "/programs/v2/2026/20260111.json",
        "/truth/v1/2026/20260111.json",
        "/truth/v1/today.json",
    ],
)
def test_other_paths_have_no_page(path: str, publisher: Publisher) -> None:
    assert publisher.page(path, at(20, 12)) is None


@pytest.mark.parametrize("path", ["/programs/v2/2026/20260106.json", "/truth/v1/2026/20260106.json"])
def test_tomorrow_is_not_published(path: str, publisher: Publisher) -> None:
    assert publisher.page(path, at(5, 23, 59)) is None


def test_the_learner_forecasts_every_race_and_repeats_an_earlier_day_exactly(publisher: Publisher) -> None:
    first = publisher.page("/truth/v1/learner/2026/20260104.json", at(8, 20))
    later = content(publisher, "/truth/v1/learner/2026/20260107.json", at(8, 20))
    truth = content(publisher, "/truth/v1/2026/20260107.json", at(8, 20))
    again = Publisher(SimulatedSeason(PLAN), PublicationSchedule())
    again.page("/truth/v1/learner/2026/20260109.json", at(9, 20))

    assert again.page("/truth/v1/learner/2026/20260104.json", at(9, 20)) == first
    assert later is not None
    assert truth is not None
    assert [race["race_number"] for race in later] == [race["race_number"] for race in truth]
    assert all(sum(race["p_win_card"]) == pytest.approx(1.0) for race in later)
    assert publisher.page("/truth/v1/learner/2026/20260107.json", at(6, 23)) is None
