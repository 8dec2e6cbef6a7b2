"""An archive folder read into facts: what is read, what is said of the rest, and that it is what the tables hold."""

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
from tests.services.cleaner.made import blank_result, card, preview, preview_boat, result, result_boat
from tests.services.fetcher.made import body, record_file

Connection = psycopg.Connection[Any]

DAY = date(2025, 5, 6)
NEXT = DAY + timedelta(days=1)
START = datetime(2025, 5, 6, 3, 34, tzinfo=UTC)
DEAD_HEAT = {"boats": [result_boat(n, p) for n, p in enumerate((1, 2, 3, 4, 5, 14), start=1)]}


def race(number: int, day: date = DAY) -> dict[str, Any]:
    return {"race_date": day.isoformat(), "race_number": number}


def listing(number: int, day: date = DAY, **given: Any) -> dict[str, Any]:
    return card(race_closed_at=f"{day} {8 + number:02d}:34:00", **race(number, day), **given)


def write(folder: Path, day: date, **feeds: list[dict[str, Any]]) -> None:
    for feed, races in feeds.items():
        record_file(folder, feed, day, body(feed, races))


def everything(number: int, day: date = DAY) -> dict[str, list[dict[str, Any]]]:
    return {
        "programs": [listing(number, day)],
        "previews": [preview(**race(number, day))],
        "results": [result(**race(number, day))],
    }


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    write(tmp_path, DAY, **everything(4))
    return tmp_path


def read(folder: Path, problems: list[str], first: date | None = None, last: date | None = None) -> list[EventFacts]:
    return read_archive(folder, first=first, last=last, on_problem=problems.append)


def test_card_observation_and_result_stand_in_one_record(archive: Path) -> None:
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


def test_events_stand_in_the_order_of_their_start_and_without_one_last(archive: Path) -> None:
    unscheduled = listing(1) | {"race_closed_at": None}
    write(archive, DAY, programs=[unscheduled, listing(6), listing(4), listing(5)])
    write(archive, NEXT, programs=[listing(2, NEXT)])

    assert [event.event_key[-8:] for event in read(archive, [])] == [
        "06:07:04",
        "06:07:05",
        "06:07:06",
        "07:07:02",
        "06:07:01",
    ]


def test_only_the_days_asked_for_are_read(archive: Path) -> None:
    for after in (1, 2, 3):
        write(archive, DAY + timedelta(days=after), **everything(1, DAY + timedelta(days=after)))

    found = read(archive, [], NEXT, DAY + timedelta(days=2))

    assert [event.day - day_number(DAY) for event in found] == [1, 2]
    assert recorded_days(archive) == [DAY + timedelta(days=after) for after in range(4)]
    with pytest.raises(ConfigError, match="it has 2025-05-06 to 2025-05-09"):
        read(archive, [], date(2026, 1, 1))


def test_a_damaged_file_is_told_and_the_rest_is_read(archive: Path) -> None:
    write(archive, NEXT, **everything(1, NEXT))
    path = record_file(archive, "results", DAY, body("results", []))
    path.write_bytes(gzip.compress(body("results", [result()]))[:-9])
    problems: list[str] = []

    found = read(archive, problems)

    assert [event.status for event in found] == ["observed", "settled"]
    assert len(problems) == 1
    assert "v2/results/2025/20250506.json.gz" in problems[0]


def test_a_slice_that_is_wrong_is_told_and_the_rest_is_read(archive: Path) -> None:
    impossible = preview(**race(4), race_wind=300)
    strange = {"race_date": DAY.isoformat(), "race_stadium_number": "seven", "race_number": 5}
    write(archive, DAY, previews=[impossible, strange])
    problems: list[str] = []

    (event,) = read(archive, problems)

    assert (event.status, event.observed_us) == ("settled", None)
    assert [problem.split(": ")[0] for problem in problems] == ["v2/previews/2025/20250506.json.gz"] * 2
    assert "race_wind" in " ".join(problems)


@pytest.mark.parametrize("levels", [300, 100_000])
def test_a_nested_document_is_told_and_the_rest_is_read(archive: Path, levels: int) -> None:
    nested = b"[" * levels + b"]" * levels
    races = body("results", [result(**race(4))])
    record_file(archive, "results", DAY, races.replace(b'"race_number":4', b'"race_number":4,"more":' + nested))
    problems: list[str] = []

    (event,) = read(archive, problems)

    assert event.status == "observed"
    assert len(problems) == 1
    assert problems[0].startswith("v2/results/2025/20250506.json.gz: ")
    assert len(problems[0]) < 1000


def test_a_missing_feed_is_told_once_and_the_rest_is_read(archive: Path) -> None:
    for after in (1, 2):
        races = everything(1, DAY + timedelta(days=after))
        write(archive, DAY + timedelta(days=after), programs=races["programs"], results=races["results"])
    problems: list[str] = []

    found = read(archive, problems)

    assert [event.observed_us is None for event in found] == [False, True, True]
    assert problems == ["previews: no file for 2 of 3 days, the first is 2025-05-07"]


def test_days_without_a_file_are_told_by_name(archive: Path) -> None:
    write(archive, DAY + timedelta(days=3), **everything(1, DAY + timedelta(days=3)))
    problems: list[str] = []

    found = read(archive, problems, DAY - timedelta(days=1), DAY + timedelta(days=4))

    assert len(found) == 2
    assert problems == ["days that have a file: 2 of 6; none for 2025-05-05, 2025-05-07 to 2025-05-08, 2025-05-10"]
    with pytest.raises(ConfigError, match="has no file of these days"):
        read(archive, [], DAY + timedelta(days=1), DAY + timedelta(days=2))


def test_a_year_that_is_a_link_is_read(archive: Path) -> None:
    elsewhere = archive / "elsewhere"
    for feed in FEEDS:
        (archive / "v2" / feed / "2025").rename(elsewhere.with_name(f"{feed}-2025"))
        (archive / "v2" / feed / "2025").symlink_to(elsewhere.with_name(f"{feed}-2025"))
    write(archive, date(2026, 1, 1), **everything(1, date(2026, 1, 1)))

    assert [event.number for event in read(archive, [])] == [4, 1]


def test_a_result_of_an_event_on_no_card_is_told_and_left_out(archive: Path) -> None:
    write(archive, DAY, results=[result(**race(4)), result(**race(9))])
    problems: list[str] = []

    assert [event.number for event in read(archive, problems)] == [4]
    assert problems == ["boatrace:2025-05-06:07:09: skipped, because it is on no card"]


def test_a_folder_without_the_layout_is_refused_with_what_was_expected(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"expected .*v2/\{feed\}/"):
        read(tmp_path, [])


def replay(connection: Connection, folder: Path) -> None:
    """The folder through the real cleaner and the real loader."""
    source, clock = load_source("boatrace"), SystemClock()
    recorded = RecordedFileSource(source, folder, clock)
    captures = {feed.name: Capture(source, feed) for feed in source.feeds}
    cleaner, loader = Cleaner(lambda reason: None), Loader(clock, Metrics())
    for window in windows_between(*recorded.day_range(), [feed.name for feed in source.feeds]):
        found = recorded.fetch(DueWindow(window, historical=True), None)
        if isinstance(found, Document):
            raw = received(captures[window.feed](found, {}).records)
            with connection.transaction():
                loader.handle(received(cleaner.handle(raw)), connection)


def received(records: list[NewRecord]) -> list[DecodedRecord]:
    return [decode(Record(new.topic, 0, 0, 0, new.key, new.value, new.headers)) for new in records]


def assert_equal(connection: Connection, folder: Path) -> list[EventFacts]:
    """Of every event of the folder, and of those that are settled: the tables hold what the reader says."""
    expected = read(folder, [])
    replay(connection, folder)
    assert read_events(connection, [event.event_key for event in expected]) == expected
    assert read_settled(connection) == [event for event in expected if event.status == "settled"]
    return expected


def test_an_odd_season_in_a_folder_reads_as_it_does_from_the_tables(database: Connection, tmp_path: Path) -> None:
    """At many times the real rates of false starts, cancellations, missing weather and half-published pages."""
    season = SimulatedSeason(SeasonPlan(seed=5, days=6, rates=AnomalyRates().multiplied_by(25.0)))
    for offset in range(6):
        day = season.plan.first_date + timedelta(days=offset)
        for feed in FEEDS:
            races = [(each, final_stage(feed, each)) for each in season.races(day)]
            record_file(tmp_path, feed, day, document(feed, races))

    found = assert_equal(database, tmp_path)

    assert {"settled", "cancelled"} <= {event.status for event in found}
    assert any(not event.conditions for event in found)
    assert any(entry.refunded for event in found for entry in event.entries)


def test_made_up_oddities_read_as_they_do_from_the_tables(database: Connection, archive: Path) -> None:
    """No schedule, no racers, a false start, and a card that comes back the day after it was called off."""
    later = [listing(n, NEXT) for n in (1, 2)]
    write(
        archive,
        DAY,
        programs=[listing(4) | {"race_closed_at": None}, listing(5), listing(1)],
        previews=[preview(**race(4)), preview(**race(5), boats={str(n): preview_boat(n) for n in range(1, 7)})],
        results=[result(**race(4)), result(**race(5), **DEAD_HEAT), blank_result(**race(1))],
    )
    write(archive, NEXT, programs=later)

    found = {event.event_key[-8:]: event for event in assert_equal(database, archive)}

    assert {key: event.status for key, event in found.items()} == {
        "06:07:01": "postponed",
        "06:07:04": "settled",
        "06:07:05": "settled",
        "07:07:01": "listed",
        "07:07:02": "listed",
    }
    assert found["06:07:04"].settled_us == us(datetime(2025, 5, 7, tzinfo=UTC))
    assert (found["06:07:05"].entries[5].code, found["06:07:05"].entries[5].refunded) == (14, True)


@pytest.fixture(scope="module")
def real() -> Path:
    return directory()


@pytest.fixture(scope="module")
def whole(real: Path) -> tuple[list[EventFacts], list[str]]:
    problems: list[str] = []
    return read_archive(real, on_problem=problems.append), problems


@pytest.mark.recorded
def test_the_whole_real_archive_is_read(whole: tuple[list[EventFacts], list[str]]) -> None:
    found, problems = whole

    assert problems == []
    assert Counter(event.status for event in found) == {
        "settled": 38_935,
        "postponed": 227,
        "cancelled": 189,
        "void": 8,
        "observed": 1,
    }
    assert len({event.event_key for event in found}) == 39_360
    assert all(len(event.entries) == 6 for event in found)
    settled = [event for event in found if event.status == "settled"]
    assert sum(event.amount is None for event in settled) == 16  # too few came in, or a special payout


@pytest.mark.recorded
def test_real_days_read_as_they_do_from_the_tables(
    real: Path, whole: tuple[list[EventFacts], list[str]], database: Connection, tmp_path: Path
) -> None:
    """Three days, with cards that were called off and came back."""
    days = [date(2026, 1, 10), date(2026, 1, 11), date(2026, 1, 12)]
    for day in days:
        for feed in FEEDS:
            path = Path("v2") / feed / f"{day:%Y}" / f"{day:%Y%m%d}.json.gz"
            (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / path).symlink_to(real / path)

    found = assert_equal(database, tmp_path)

    last = day_number(days[-1])
    assert found == [event for event in whole[0] if last - 2 <= event.day <= last]
    assert Counter(event.status for event in found)["postponed"] == 75
