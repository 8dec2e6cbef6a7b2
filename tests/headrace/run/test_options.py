"""What `headrace run` accepts."""

from __future__ import annotations

from datetime import UTC, date, datetime
from pathlib import Path

import pytest

from headrace.run.options import RunOptions, replica_counts, virtual_time
from shared.errors import ConfigError

START = "2026-01-31T09:00:00+09:00"


def test_an_archive_alone_means_the_source_archive(tmp_path: Path) -> None:
    assert RunOptions(archive=tmp_path).checked().source == "archive"


def test_a_clock_without_an_epoch_starts_with_the_run() -> None:
    clock = virtual_time(START, "60", None, now_s=100.0)

    assert clock is not None
    assert (clock.start.astimezone(UTC), clock.speed, clock.epoch_s) == (datetime(2026, 1, 31, tzinfo=UTC), 60.0, 100.0)


def test_as_fast_as_it_goes_needs_no_clock() -> None:
    assert virtual_time(None, "max", None, now_s=100.0) is None


def test_replicas_are_counted_per_service() -> None:
    assert replica_counts(["cleaner=2", "loader=3"]) == {"cleaner": 2, "loader": 3}


@pytest.mark.parametrize(
    ("given", "named"),
    [
        (RunOptions(source="archive"), "--archive DIR"),
        (RunOptions(archive=Path("/nowhere")), "--archive /nowhere"),
        (
            RunOptions(from_date=date(2026, 2, 2), to_date=date(2026, 2, 1)),
            "--to 2026-02-01 is before --from 2026-02-02",
        ),
        (RunOptions(as_of=datetime(2026, 1, 31, tzinfo=UTC)), "needs --source archive"),
    ],
)
def test_what_is_impossible_is_refused_by_name(given: RunOptions, named: str) -> None:
    with pytest.raises(ConfigError, match=r"^[^\n]*$") as refused:
        given.checked()

    assert named in str(refused.value)


@pytest.mark.parametrize(
    ("start", "speed", "named"),
    [
        (None, "10", "--clock-start"),
        ("2026-01-31T09:00:00", None, "time zone"),
        (START, "0", "above 0"),
        (START, "quick", "quick"),
        (START, "max", "has no clock"),
    ],
)
def test_a_clock_that_cannot_be_is_refused(start: str | None, speed: str | None, named: str) -> None:
    with pytest.raises(ConfigError, match=named):
        virtual_time(start, speed, None, now_s=100.0)


@pytest.mark.parametrize(
    ("text", "named"), [("painter=2", "painter=2"), ("loader=0", "from 1 to"), ("loader", "SERVICE=N")]
)
def test_replicas_that_cannot_be_are_refused(text: str, named: str) -> None:
    with pytest.raises(ConfigError, match=named):
        replica_counts([text])


def test_an_archive_can_be_shown_as_of_an_instant(tmp_path: Path) -> None:
    noon = datetime(2026, 1, 31, 3, tzinfo=UTC)

    assert RunOptions(archive=tmp_path, as_of=noon).checked().as_of == noon
