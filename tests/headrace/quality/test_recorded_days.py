"""The anomalies of recorded days that their description names are in the report.

Not in any row, because the cleaner corrects them: arrays in place of objects, whole numbers without decimals, doubled
spaces in titles, and the row of a boat 0 (of which only the missing lane of another boat is left).
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date

import pytest

from headrace.database.embedded import EmbeddedPostgres
from headrace.quality.dataset import Dataset
from headrace.quality.measures.checks import CONTRADICTIONS, DUPLICATES
from headrace.quality.reading import Frames, datasets_of
from headrace.quality.report import QualityReport
from tests.headrace.quality.conftest import database_and_reader
from tests.headrace.quality.made_up_facts import report_of, row_of
from tests.services.loader.test_recorded_day import final_documents, live_documents
from tests.services.loader.test_recorded_day import load as load_documents

pytestmark = [pytest.mark.recorded, pytest.mark.slow]

LIVE_DAY = date(2026, 1, 31)
DAYS = [
    date(2025, 7, 15), date(2025, 7, 16), date(2025, 7, 19), date(2025, 7, 20), date(2025, 8, 16), date(2025, 8, 20),
    date(2025, 9, 28), date(2025, 11, 16), date(2025, 12, 1), date(2025, 12, 11), date(2026, 1, 10), date(2026, 1, 11),
    date(2026, 1, 12), date(2026, 3, 25),
]  # fmt: skip


@pytest.fixture(scope="module")
def archived(postgres: EmbeddedPostgres) -> Iterator[tuple[QualityReport, Dataset]]:
    """The report of days from an archive, and its rows."""
    with database_and_reader(postgres) as (connection, reader):
        for day in DAYS:
            with connection.transaction():
                load_documents(connection, final_documents(day))
        [data] = datasets_of(Frames(reader, DAYS[0], DAYS[0], DAYS[-1], None, None))
        yield report_of(reader, DAYS[0], DAYS[-1]), data


@pytest.fixture(scope="module")
def live(postgres: EmbeddedPostgres) -> Iterator[QualityReport]:
    """The report of a day of which all versions were loaded as they were published."""
    with database_and_reader(postgres) as (connection, reader):
        with connection.transaction():
            load_documents(connection, live_documents())
        yield report_of(reader, LIVE_DAY, LIVE_DAY)


@pytest.mark.parametrize(
    ("check", "event"),
    [
        ("shared_place", "2025-07-20:14:07"),
        ("shared_place", "2025-12-11:17:01"),
        ("few_placed", "2025-07-15:10:09"),
        ("no_place_no_code", "2025-07-19:01:12"),
        ("nothing_measured", "2025-07-20:03:12"),
        ("weather_lost", "2025-07-16:10:01"),
        ("course_only_in_result", "2025-12-01:07:03"),
        ("course_only_in_result", "2026-03-25:04:04"),
        ("starts_close", "2026-01-10:03:02"),
        ("line_up", "2025-08-20:16:05"),
        ("postponed_line_up", "2026-01-11:03:01"),
        ("postponed_line_up", "2026-01-12:03:12"),
    ],
)
def test_a_check_names_the_described_event(archived: tuple[QualityReport, Dataset], check: str, event: str) -> None:
    _, data = archived

    assert f"boatrace:{event}" in set((CONTRADICTIONS | DUPLICATES)[check].events(data, data))


@pytest.mark.parametrize("check", ["wrong_winner", "early_start_with_place", "refund_with_place", "shared_course"])
def test_what_never_happens_has_no_events(archived: tuple[QualityReport, Dataset], check: str) -> None:
    assert row_of(archived[0], "contradictions", check)["count"] == 0


@pytest.mark.parametrize(
    ("measure", "field", "example"),
    [
        ("unfinished", "events", "2025-08-16:24:12"),  # the half-published page
        ("maximum", "outcomes.start_timing_s", "2025-09-28:06:04"),  # 0.94 s
        ("maximum", "observations.exhibition_time_s", "2025-12-11:03:10"),  # 8.67 s
        ("maximum", "transactions.trifecta.amount", "2025-11-16:08:09"),  # 517,830
        ("missing_market_rows", "transactions.place", "2025-07-19:08:03"),
        ("completeness", "entries.average_start_timing_s", "2025-07-15:02:05"),
        ("completeness", "entries.local_points", "2025-07-15:01:02"),
        ("status", "void", "2025-07-19:01:12"),
        ("mixed_precision", "events.conditions.air_temperature_c", "venue 13"),
    ],
)
def test_a_measure_has_the_described_example(
    archived: tuple[QualityReport, Dataset], measure: str, field: str, example: str
) -> None:
    examples = [each.removeprefix("boatrace:") for each in row_of(archived[0], measure, field)["examples"]]

    assert example in examples


def test_days_that_were_not_loaded_are_shown(archived: tuple[QualityReport, Dataset]) -> None:
    report, _ = archived

    assert row_of(report, "days_without_events", "events")["count"] == (DAYS[-1] - DAYS[0]).days + 1 - len(DAYS)
    assert not report.is_good


def test_the_corrections_of_the_live_day_are_reported(live: QualityReport) -> None:
    timing = row_of(live, "corrected", "outcomes.start_timing_s")

    assert (timing["count"], timing["examples"]) == (1, ["boatrace:2026-01-31:13:10"])
    assert row_of(live, "corrected", "events.distance_m")["count"] == 18
    assert row_of(live, "corrected", "events.scheduled_at")["count"] == 2
    assert row_of(live, "correction_delay_median", "outcomes.start_timing_s")["value"] > 0


def test_the_losses_of_the_live_day_are_reported(live: QualityReport) -> None:
    """120 racers of 20 events were missing for a time."""
    assert row_of(live, "regressed", "entries.entity_key")["count"] == 120
    assert row_of(live, "regressed", "events")["count"] >= 20


def test_late_documents_of_the_live_day_are_reported(live: QualityReport) -> None:
    """44 of 168 events had exhibition times before the deadline, and two more had lanes only.

    Complete results took 48 minutes at the median, 329 at most.
    """
    late = row_of(live, "late", "measured")

    assert late["total"] - late["count"] == 46
    assert row_of(live, "delay_median", "settled")["value"] < row_of(live, "delay_median", "final")["value"]
    assert row_of(live, "delay_median", "final")["value"] / 60 == pytest.approx(48, abs=1)
    assert row_of(live, "delay_max", "final")["value"] / 60 == pytest.approx(329, abs=1)


def test_the_live_day_has_no_error(live: QualityReport) -> None:
    assert live.is_good
