"""What `headrace run` accepts."""

from __future__ import annotations

from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest

from headrace.options import RunOptions, replica_counts, run_options, virtual_time
from shared.errors import ConfigError


def options(**given: Any) -> RunOptions:
    nothing: dict[str, Any] = dict.fromkeys(
        ("source", "archive", "base_url", "from_text", "to_text", "clock_start", "clock_speed", "clock_epoch", "as_of")
    )
    return run_options(**{**nothing, "once": False, "replicas": (), "now_s": 100.0, **given})


def test_an_archive_alone_means_the_source_archive(tmp_path: Path) -> None:
    assert options(archive=tmp_path).source == "archive"


def test_days_are_read_as_dates() -> None:
    found = options(from_text="2026-01-31", to_text="2026-02-01")

    assert (found.from_date, found.to_date) == (date(2026, 1, 31), date(2026, 2, 1))


def test_a_clock_without_an_epoch_starts_with_the_run() -> None:
    clock = virtual_time("2026-01-31T09:00:00+09:00", "60", None, now_s=100.0)

    assert clock is not None
    assert (clock.start.astimezone(UTC), clock.speed, clock.epoch_s) == (datetime(2026, 1, 31, tzinfo=UTC), 60.0, 100.0)


def test_as_fast_as_it_goes_needs_no_clock() -> None:
    assert virtual_time(None, "max", None, now_s=100.0) is None


def test_replicas_are_counted_per_service() -> None:
    assert replica_counts(["cleaner=2", "loader=3"]) == {"cleaner": 2, "loader": 3}


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ({"source": "archive"}, "--archive DIR"),
        ({"archive": Path("/nowhere")}, "--archive /nowhere"),
        ({"from_text": "31.1.2026"}, "--from 31.1.2026"),
        ({"from_text": "2026-02-02", "to_text": "2026-02-01"}, "--to 2026-02-01 is before --from 2026-02-02"),
        ({"clock_speed": "10"}, "--clock-start"),
        ({"clock_start": "2026-01-31T09:00:00"}, "time zone"),
        ({"clock_start": "2026-01-31T09:00:00+09:00", "clock_speed": "0"}, "above 0"),
        ({"clock_start": "2026-01-31T09:00:00+09:00", "clock_speed": "quick"}, "quick"),
        ({"replicas": ["painter=2"]}, "painter=2"),
        ({"replicas": ["loader=0"]}, "from 1 to"),
        ({"replicas": ["loader"]}, "SERVICE=N"),
    ],
)
def test_what_is_impossible_is_refused_by_name(given: dict[str, Any], named: str) -> None:
    with pytest.raises(ConfigError, match=r"^[^\n]*$") as refused:
        options(**given)

    assert named in str(refused.value)


def test_time_travel_needs_an_archive_and_an_instant(tmp_path: Path) -> None:
    assert options(archive=tmp_path, as_of="2026-01-31T12:00:00+09:00").as_of == datetime(2026, 1, 31, 3, tzinfo=UTC)
    for given, cause in (
        ({"as_of": "2026-01-31T12:00:00+09:00"}, "needs --source archive"),
        ({"archive": tmp_path, "as_of": "2026-01-31T12:00:00"}, "name the time zone"),
        ({"archive": tmp_path, "as_of": "noon"}, "expected an ISO time"),
    ):
        with pytest.raises(ConfigError, match=cause):
            options(**given)
