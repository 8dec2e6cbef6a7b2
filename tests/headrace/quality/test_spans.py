"""Spans without rows, spans of a venue and of a source, and rows without faults."""

from __future__ import annotations

from datetime import date, timedelta

import pytest

from headrace.frames.client import Headrace
from headrace.frames.errors import BadArgument
from tests.headrace.quality.made_up_facts import DAY, Connection, event, load, report_of, row_of

Loaded = tuple[Connection, Headrace]


def test_rows_without_faults_have_no_findings(loaded: Loaded) -> None:
    connection, reader = loaded
    load(connection, [fact for venue in (7, 8) for number in range(1, 4) for fact in event(number, DAY, venue)])

    report = report_of(reader)

    # Reference data was not loaded, so no venue has a name.
    assert report.findings["field"].tolist() == ["sessions.venue_name"]
    assert report.is_good


@pytest.mark.parametrize("days", [1, 400])
def test_an_empty_database_fails_because_every_day_is_empty(loaded: Loaded, days: int) -> None:
    last = DAY + timedelta(days=days - 1)

    report = report_of(loaded[1], DAY, last)

    assert not report.is_good
    assert report.findings["threshold"].tolist() == ["days"]
    assert row_of(report, "days_without_events", "events")["count"] == days
    assert "Failed" in report.html()


def test_a_span_after_the_rows_has_no_events_on_any_day(loaded: Loaded) -> None:
    connection, reader = loaded
    load(connection, event())

    report = report_of(reader, DAY + timedelta(days=5), DAY + timedelta(days=6))

    assert row_of(report, "days_without_events", "events")["value"] == 2


def test_days_that_have_not_begun_are_not_empty(loaded: Loaded) -> None:
    connection, reader = loaded
    future = date(9000, 1, 1)
    load(connection, event(1, future))

    report = report_of(reader, future, future + timedelta(days=3))

    assert "days" not in report.findings["threshold"].tolist()


def test_a_report_of_a_venue_has_only_its_rows_and_expects_no_event_on_each_day(loaded: Loaded) -> None:
    connection, reader = loaded
    load(connection, [*event(1, DAY, 7), *event(1, DAY, 8)])

    report = report_of(reader, DAY, DAY + timedelta(days=1), venue=7)

    assert set(report.measures["venue"].dropna()) == {7}
    assert "days" not in report.findings["threshold"].tolist()


def test_a_report_of_a_source_that_does_not_exist_is_empty(loaded: Loaded) -> None:
    connection, reader = loaded
    load(connection, event())

    assert not report_of(reader, source="lake").is_good
    assert report_of(reader, source="river").is_good


def test_the_client_gives_the_report_of_its_span(loaded: Loaded) -> None:
    connection, reader = loaded
    load(connection, event())

    report = reader.quality("2025-05-06", venue=7)

    assert report.findings.equals(report_of(reader, venue=7).findings)
    assert report._repr_html_() == report.html()


def test_the_client_needs_both_ends_of_a_span(loaded: Loaded) -> None:
    with pytest.raises(BadArgument, match="a first and a last day"):
        loaded[1].quality(from_day="2025-05-06")
