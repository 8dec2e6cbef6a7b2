"""How a series continues through a phase that one scrape stands for."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.deploy.stretched import Phase, assert_alerts, series_of, stretched


def values(name: str, *scraped: float | None) -> list[float | None]:
    """The series of a metric with these scraped values, in phases of two minutes after one at time 0."""
    series = series_of(name, service="x")
    phases = [
        Phase({} if value is None else {series: value}, 2 if number else 0) for number, value in enumerate(scraped)
    ]
    return stretched(phases)[series]


def test_a_state_has_the_value_of_its_scrape() -> None:
    assert values("ready", 1, 0, 1) == [1, 0, 0, 1, 1]


def test_a_counter_grows_evenly() -> None:
    assert values("retries_total", 5, 5, 9) == [5, 5, 5, 7, 9]
    assert values("retries_total", 5, 1) == [5, 1, 1]  # a new process


def test_a_timestamp_that_advances_is_the_time_and_one_that_does_not_stands_still() -> None:
    assert values("last_success_timestamp_seconds", 1.7e9, 1.8e9, 1.8e9, 1.9e9) == [1, 60, 120, 120, 120, 300, 360]
    assert values("audit_timestamp_seconds", 0, 0) == [0, 0, 0]


def test_an_age_that_grows_grows_with_the_time() -> None:
    assert values("order_age_seconds", 1, 1.5, 0, 0) == [1, 61, 121, 0, 0, 0, 0]


def test_a_series_that_is_not_scraped_does_not_exist() -> None:
    assert values("up", 1, None, 1) == [1, None, None, 1, 1]


@pytest.mark.prometheus
def test_a_missing_or_an_unexpected_alert_fails(tmp_path: Path) -> None:
    up = {series_of("up", job="headrace", service=each): 1.0 for each in ("fetcher", "cleaner", "loader", "predictor")}
    notifier = series_of("up", job="headrace", service="notifier")
    phases = [Phase(up | {notifier: 1}, 5), Phase(up | {notifier: 0}, 5, {"TargetDown"}), Phase(up | {notifier: 1}, 2)]

    assert_alerts(phases, tmp_path)
    with pytest.raises(AssertionError, match="TargetDown"):
        assert_alerts([phases[0], phases[1]._replace(firing=()), phases[2]], tmp_path)
    with pytest.raises(AssertionError, match="TargetDown"):
        assert_alerts([phases[0], phases[0]._replace(firing={"TargetDown"})], tmp_path)
