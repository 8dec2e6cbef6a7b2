"""An archive folder read into facts: what is read, which problems are reported, and that the facts equal the tables."""

from __future__ import annotations

import gzip
from collections import Counter
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest

from headrace.backtest.archive import read_archive, recorded_days
from services.cleaner.handle import Cleaner
from services.fetcher.capture import Capture
from services.fetcher.planning.windows import DueWindow, windows_between
from services.fetcher.sources.documents import Document
from services.fetcher.sources.recorded_files import RecordedFileSource
from services.fetcher.sources.yaml_file import load_source
from services.loader.load import Loader
from services.predictor.data.events import EventFacts
from services.predictor.data.instants import day_number
from services.predictor.data.instants import microseconds_of as us
from services.predictor.storage.postgres_facts import read_events, read_settled
from shared.broker.contract import NewRecord, Record
from shared.clock import SystemClock
from shared.errors import ConfigError
from shared.records import DecodedRecord, decode
from shared.runtime.metrics import Metrics
from simulator.documents import FEEDS, document, final_stage
from simulator.rates import AnomalyRates
from simulator.season import SeasonPlan, SimulatedSeason
from tests.recorded_days import directory
from tests.services.cleaner.synthetic_slices import blank_result, card, preview, preview_boat, result, result_boat
from tests.services.fetcher.synthetic_documents import body, record_file

Connection = psycopg.Connection[Any]

DAY = date(2025, 5, 6)
NEXT = DAY + timedelta(days=1)
START = datetime(2025, 5, 6, 3, 34, tzinfo=UTC)
DEAD_HEAT = {"boats": [result_boat(n, p) for n, p in enumerate((1, 2, 3, 4, 5, 14), start=1)]}


def race(number: int, day: date = DAY) -> dict[str, Any]:
    return {"race_date": day.isoformat(), "race_number": number}


def listing(number: int, day: date = DAY, **fields: Any) -> dict[str, Any]:
    return card(race_closed_at=f"{day} {8 + number:02d}:34:00", **race(number, day), **fields)


def write_day(folder: Path, day: date, **feeds: list[dict[str, Any]]) -> None:
    for feed, races in feeds.items():
        record_file(folder, feed, day, body(feed, races))


def all_feeds(number: int, day: date = DAY) -> dict[str, list[dict[str, Any]]]:
    return {
        "programs": [listing(number, day)],
        "previews": [preview(**race(number, day))],
        "results": [result(**race(number, day))],
    }


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    write_day(tmp_path, DAY, **all_feeds(4))
    return tmp_path


def read(folder: Path, problems: list[str], first: date | None = None, last: date | None = None) -> list[EventFacts]:
    return read_archive(folder, first=first, last=last, on_problem=problems.append)


def test_card_observation_and_result_are_read_into_one_event(archive: Path) -> None:
    problems: list[str] = []

    (event,) = read(archive, problems)

    assert problems == []
    assert event._replace(entries=()) == EventFacts(
        event_key="boatrace:2025-05-06:07:04",
        session_key="boatrace:2025-05-06:07",
        day=day_number(DAY),
        venue=7,
        number=4,
        status="settled",
        entries=(),
        title="予選",
        grade=5,
        distance_m=1800,
        scheduled_us=us(START),
        listed_us=us(datetime(2025, 5, 5, 15, tzinfo=UTC)),
        observed_us=us(START),
        settled_us=us(START + timedelta(minutes=15)),
        technique=1,
        conditions={
            "wind_m_s": 3,
            "wind_direction": 5,
            "wave_cm": 2,
            "weather": 1,
            "air_temperature_c": 18.5,
            "water_temperature_c": 17,
        },
        amount=1230,
        session_title="第1回 試験杯",
    )
    assert [entry.slot for entry in event.entries] == [1, 2, 3, 4, 5, 6]
    first, second = event.entries[:2]
    assert (first.entity, first.categories) == ("boatrace:7001", {"class": 2, "motor_number": 31, "hull_number": 61})
    assert (first.measures["national_points"], first.observed["exhibition_time_s"]) == (5.51, 6.78)
    assert (first.observed_course, first.course, first.place, first.timing_s) == (1, 1, 1, 0.11)
    assert (first.code, first.refunded, first.win_amount, second.win_amount) == (None, False, 160, None)


def test_events_are_ordered_by_their_start_and_those_without_one_come_last(archive: Path) -> None:
    unscheduled = listing(1) | {"race_closed_at": None}
    write_day(archive, DAY, programs=[unscheduled, listing(6), listing(4), listing(5)])
    write_day(archive, NEXT, programs=[listing(2, NEXT)])

    assert [event.event_key[-8:] for event in read(archive, [])] == [
        "06:07:04",
        "06:07:05",
        "06:07:06",
        "07:07:02",
        "06:07:01",
    ]


def test_only_the_requested_days_are_read(archive: Path) -> None:
    for after in (1, 2, 3):
        write_day(archive, DAY + timedelta(days=after), **all_feeds(1, DAY + timedelta(days=after)))

    events = read(archive, [], NEXT, DAY + timedelta(days=2))

    assert [event.day - day_number(DAY) for event in events] == [1, 2]
    assert recorded_days(archive) == [DAY + timedelta(days=after) for after in range(4)]
    with pytest.raises(ConfigError, match="it has 2025-05-06 to 2025-05-09"):
        read(archive, [], date(2026, 1, 1))


def test_a_damaged_file_is_reported_and_the_rest_is_read(archive: Path) -> None:
    write_day(archive, NEXT, **all_feeds(1, NEXT))
    path = record_file(archive, "results", DAY, body("results", []))
    path.write_bytes(gzip.compress(body("results", [result()]))[:-9])
    problems: list[str] = []

    events = read(archive, problems)

    assert [event.status for event in events] == ["observed", "settled"]
    assert len(problems) == 1
    assert "v2/results/2025/20250506.json.gz" in problems[0]


def test_an_invalid_slice_is_reported_and_the_rest_is_read(archive: Path) -> None:
    invalid_value = preview(**race(4), race_wind=300)
    invalid_venue = {"race_date": DAY.isoformat(), "race_stadium_number": "seven", "race_number": 5}
    write_day(archive, DAY, previews=[invalid_value, invalid_venue])
    problems: list[str] = []

    (event,) = read(archive, problems)

    assert (event.status, event.observed_us) == ("settled", None)
    assert [problem.split(": ")[0] for problem in problems] == ["v2/previews/2025/20250506.json.gz"] * 2
    assert "race_wind" in " ".join(problems)


@pytest.mark.parametrize("levels", [300, 100_000])
def test_a_deeply_nested_document_is_reported_and_the_rest_is_read(archive: Path, levels: int) -> None:
    nested = b"[" * levels + b"]" * levels
    races = body("results", [result(**race(4))])
    record_file(archive, "results", DAY, races.replace(b'"race_number":4', b'"race_number":4,"more":' + nested))
    problems: list[str] = []

    (event,) = read(archive, problems)

    assert event.status == "observed"
    assert len(problems) == 1
    assert problems[0].startswith("v2/results/2025/20250506.json.gz: ")
    assert len(problems[0]) < 1000


def test_a_missing_feed_is_reported_once_and_the_rest_is_read(archive: Path) -> None:
    for after in (1, 2):
        races = all_feeds(1, DAY + timedelta(days=after))
        write_day(archive, DAY + timedelta(days=after), programs=races["programs"], results=races["results"])
    problems: list[str] = []

    events = read(archive, problems)

    assert [event.observed_us is None for event in events] == [False, True, True]
    assert problems == ["previews: no file for 2 of 3 days, the first is 2025-05-07"]


def test_days_without_a_file_are_reported_by_name(archive: Path) -> None:
    write_day(archive, DAY + timedelta(days=3), **all_feeds(1, DAY + timedelta(days=3)))
    problems: list[str] = []

    events = read(archive, problems, DAY - timedelta(days=1), DAY + timedelta(days=4))

    assert len(events) == 2
    assert problems == ["days that have a file: 2 of 6; none for 2025-05-05, 2025-05-07 to 2025-05-08, 2025-05-10"]
    with pytest.raises(ConfigError, match="has no file of these days"):
        read(archive, [], DAY + timedelta(days=1), DAY + timedelta(days=2))


def test_a_folder_of_a_year_may_be_a_symbolic_link(archive: Path) -> None:
    elsewhere = archive / "elsewhere"
    for feed in FEEDS:
        (archive / "v2" / feed / "2025").rename(elsewhere.with_name(f"{feed}-2025"))
        (archive / "v2" / feed / "2025").symlink_to(elsewhere.with_name(f"{feed}-2025"))
    write_day(archive, date(2026, 1, 1), **all_feeds(1, date(2026, 1, 1)))

    assert [event.number for event in read(archive, [])] == [4, 1]


def test_a_result_of_an_unlisted_event_is_reported_and_skipped(archive: Path) -> None:
    write_day(archive, DAY, results=[result(**race(4)), result(**race(9))])
    problems: list[str] = []

    assert [event.number for event in read(archive, problems)] == [4]
    assert problems == ["boatrace:2025-05-06:07:09: skipped, because it is on no card"]


def test_a_folder_without_the_layout_is_refused_with_the_expected_one(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"expected .*v2/\{feed\}/"):
        read(tmp_path, [])


def load_folder(connection: Connection, folder: Path) -> None:
    """Clean and load the folder with the real cleaner and the real loader."""
    source, clock = load_source("boatrace"), SystemClock()
    recorded = RecordedFileSource(source, folder, clock)
    captures = {feed.name: Capture(source, feed) for feed in source.feeds}
    cleaner, loader = Cleaner(lambda reason: None), Loader(clock, Metrics())
    for window in windows_between(*recorded.day_range(), [feed.name for feed in source.feeds]):
        answer = recorded.fetch(DueWindow(window, historical=True), None)
        if isinstance(answer, Document):
            raw = decoded(captures[window.feed](answer, {}).records)
            with connection.transaction():
                loader.handle(decoded(cleaner.handle(raw)), connection)


def decoded(records: list[NewRecord]) -> list[DecodedRecord]:
    return [decode(Record(new.topic, 0, 0, 0, new.key, new.value, new.headers)) for new in records]


def assert_equals_tables(connection: Connection, folder: Path) -> list[EventFacts]:
    """The tables give the same facts as the folder: for all its events, and for the settled ones."""
    expected = read(folder, [])
    load_folder(connection, folder)
    assert read_events(connection, [event.event_key for event in expected]) == expected
    assert read_settled(connection) == [event for event in expected if event.status == "settled"]
    return expected


def test_a_season_with_many_anomalies_reads_the_same_from_a_folder_and_from_the_tables(
    database: Connection, tmp_path: Path
) -> None:
    """False starts, cancellations, missing weather and half-published pages are 25 times as frequent as in reality."""
    season = SimulatedSeason(SeasonPlan(seed=5, days=6, rates=AnomalyRates().multiplied_by(25.0)))
    for offset in range(6):
        day = season.plan.first_date + timedelta(days=offset)
        for feed in FEEDS:
            races = [(each, final_stage(feed, each)) for each in season.races(day)]
            record_file(tmp_path, feed, day, document(feed, races))

    events = assert_equals_tables(database, tmp_path)

    assert {"settled", "cancelled"} <= {event.status for event in events}
    assert any(not event.conditions for event in events)
    assert any(entry.refunded for event in events for entry in event.entries)


def test_synthetic_anomalies_read_the_same_from_a_folder_and_from_the_tables(
    database: Connection, archive: Path
) -> None:
    """No schedule, no racers, a false start, and a card that is listed again the day after it was called off."""
    later = [listing(n, NEXT) for n in (1, 2)]
    write_day(
        archive,
        DAY,
        programs=[listing(4) | {"race_closed_at": None}, listing(5), listing(1)],
        previews=[preview(**race(4)), preview(**race(5), boats={str(n): preview_boat(n) for n in range(1, 7)})],
        results=[result(**race(4)), result(**race(5), **DEAD_HEAT), blank_result(**race(1))],
    )
    write_day(archive, NEXT, programs=later)

    events = {event.event_key[-8:]: event for event in assert_equals_tables(database, archive)}

    assert {key: event.status for key, event in events.items()} == {
        "06:07:01": "postponed",
        "06:07:04": "settled",
        "06:07:05": "settled",
        "07:07:01": "listed",
        "07:07:02": "listed",
    }
    assert events["06:07:04"].settled_us == us(datetime(2025, 5, 7, tzinfo=UTC))
    assert (events["06:07:05"].entries[5].code, events["06:07:05"].entries[5].refunded) == (14, True)


@pytest.fixture(scope="module")
def real() -> Path:
    return directory()


@pytest.fixture(scope="module")
def real_archive(real: Path) -> tuple[list[EventFacts], list[str]]:
    problems: list[str] = []
    return read_archive(real, on_problem=problems.append), problems


@pytest.mark.recorded
def test_the_complete_real_archive_is_read(real_archive: tuple[list[EventFacts], list[str]]) -> None:
    events, problems = real_archive

    assert problems == []
    assert Counter(event.status for event in events) == {
        "settled": 38_935,
        "postponed": 227,
        "cancelled": 189,
        "void": 8,
        "observed": 1,
    }
    assert len({event.event_key for event in events}) == 39_360
    assert all(len(event.entries) == 6 for event in events)
    settled = [event for event in events if event.status == "settled"]
    assert sum(event.amount is None for event in settled) == 16  # too few finished, or a special payout


@pytest.mark.recorded
def test_real_days_read_the_same_from_a_folder_and_from_the_tables(
    real: Path, real_archive: tuple[list[EventFacts], list[str]], database: Connection, tmp_path: Path
) -> None:
    """Three days, with cards that were called off and listed again."""
    days = [date(2026, 1, 10), date(2026, 1, 11), date(2026, 1, 12)]
    for day in days:
        for feed in FEEDS:
            path = Path("v2") / feed / f"{day:%Y}" / f"{day:%Y%m%d}.json.gz"
            (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / path).symlink_to(real / path)

    events = assert_equals_tables(database, tmp_path)

    last = day_number(days[-1])
    assert events == [event for event in real_archive[0] if last - 2 <= event.day <= last]
    assert Counter(event.status for event in events)["postponed"] == 75
