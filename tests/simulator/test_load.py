"""A load: which documents are public when, what counts as fetched, and a real fetcher that follows it."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import date, timedelta
from pathlib import Path

import httpx2
import pytest

from services.fetcher.archive.store import DocumentArchive
from services.fetcher.fetch import Fetcher
from services.fetcher.http.source import HttpSource
from services.fetcher.planning.windows import FetchPlan
from services.fetcher.sources.yaml_file import load_source
from shared.clock import SystemClock
from simulator.documents import FEEDS
from simulator.load import Load, LoadPlan, LoadReading, report_line
from simulator.publisher import Publisher
from simulator.season import HALF_YEARS_CACHED, SeasonPlan, SimulatedSeason
from simulator.server import FailureInjection, SimulatorServer
from simulator.stages import PublicationSchedule
from tests.processes import killed_at_end
from tests.services.fetcher.synthetic_documents import FetcherDriver
from tests.serving import serving
from tests.waiting import DEADLINE_S, wait_until

FIRST = date(2020, 1, 1)
DAYS = 3
SEASON = SeasonPlan(days=DAYS, venues=(5, 17), first_date=FIRST)
PLAN = LoadPlan(FIRST, DAYS, rate=2.0, records_per_document=24)
ROOT = Path(__file__).parents[2]


class SettableSeconds:
    def __init__(self) -> None:
        self.at_s = 1000.0

    def __call__(self) -> float:
        return self.at_s


@pytest.fixture
def seconds() -> SettableSeconds:
    return SettableSeconds()


@pytest.fixture
def load(seconds: SettableSeconds) -> Load:
    return Load(PLAN, seconds)


@contextmanager
def serving_load(load: Load, hold_s: float) -> Iterator[SimulatorServer]:
    publisher = Publisher(SimulatedSeason(SEASON), PublicationSchedule())
    failing = FailureInjection(0.0, seed=1)
    with serving(SimulatorServer(("127.0.0.1", 0), publisher, SystemClock(), failing, load, hold_s)) as server:
        yield server


def path_of(number: int) -> str:
    day = FIRST + timedelta(days=number // len(FEEDS))
    return f"/{FEEDS[number % len(FEEDS)]}/v2/{day:%Y}/{day:%Y%m%d}.json"


def test_documents_are_numbered_in_the_order_in_which_the_fetcher_requests_them() -> None:
    feeds = [feed.name for feed in load_source("simulator").feeds]

    numbers = [PLAN.number_of(feed, FIRST + timedelta(days=day)) for day in range(DAYS) for feed in feeds]

    assert numbers == list(range(PLAN.documents))


@pytest.mark.parametrize("day", [FIRST - timedelta(days=1), FIRST + timedelta(days=DAYS)])
def test_a_day_outside_the_season_has_no_number(day: date) -> None:
    assert PLAN.number_of("programs", day) is None


@pytest.mark.parametrize("rate", [0.0, 0.4, 1001.0, -1.0, float("nan"), float("inf")])
def test_a_rate_outside_the_bounds_is_refused(rate: float) -> None:
    with pytest.raises(ValueError, match=r"0\.5 to 1000 documents per second"):
        LoadPlan(FIRST, DAYS, rate, 24)


def test_documents_become_public_at_the_rate_from_the_first_request_on(load: Load, seconds: SettableSeconds) -> None:
    seconds.at_s += 50

    waits = [load.wait_s(number) for number in range(4)]
    seconds.at_s += 1

    assert waits == [0.0, 0.5, 1.0, 1.5]
    assert [load.wait_s(number) for number in range(4)] == [0.0, 0.0, 0.0, 0.5]


def test_a_load_begins_at_the_document_that_is_requested_first(load: Load) -> None:
    assert load.wait_s(4) == 0.0
    assert load.wait_s(3) == 0.0
    assert load.wait_s(5) == 0.5


def test_the_published_documents_do_not_depend_on_the_client(load: Load, seconds: SettableSeconds) -> None:
    before = load.reading()
    load.wait_s(0)
    seconds.at_s += 2

    after = load.reading()
    seconds.at_s += 1000

    assert (before.published, after.published, load.reading().published) == (0, 5, PLAN.documents)
    assert after.fetched == 0


def test_a_document_that_is_fetched_again_counts_once(load: Load) -> None:
    load.wait_s(1)
    for number in (1, 0, 1, 1):
        load.record_fetch(number)

    reading = load.reading()

    assert (reading.published, reading.fetched, reading.repeated) == (2, 2, 2)


def test_a_report_shows_the_rates_since_the_last_one_and_what_is_not_fetched_yet() -> None:
    line = report_line(PLAN, LoadReading(10.0, 1, 1, 0), LoadReading(12.0, 5, 2, 3))

    assert line == (
        "load: offered 2.0 documents/s (48 records/s), fetched 0.5 (12); 5 of 9 published, 2 fetched,"
        " 3 not fetched yet, 3 fetched again"
    )


def test_a_document_that_does_not_become_public_in_time_is_unavailable_and_not_counted(load: Load) -> None:
    with serving_load(load, hold_s=0.01) as server, httpx2.Client(base_url=server.url, timeout=DEADLINE_S) as client:
        statuses = [client.get(path_of(number)).status_code for number in (0, 8)]

    assert statuses == [200, 503]
    assert load.reading().fetched == 1


def test_a_head_request_and_an_unknown_path_are_not_counted(load: Load) -> None:
    with serving_load(load, hold_s=0.01) as server, httpx2.Client(base_url=server.url, timeout=DEADLINE_S) as client:
        statuses = [client.head(path_of(0)).status_code, client.get("/programs/v2/2019/20191231.json").status_code]

    assert statuses == [200, 404]
    assert load.reading().fetched == 0


def test_a_request_waits_until_its_document_is_public() -> None:
    load = Load(LoadPlan(FIRST, DAYS, rate=100.0, records_per_document=24), time.monotonic)

    with (
        serving_load(load, hold_s=DEADLINE_S) as server,
        httpx2.Client(base_url=server.url, timeout=DEADLINE_S) as client,
    ):
        statuses = [client.get(path_of(number)).status_code for number in (0, 8)]

    assert statuses == [200, 200]
    assert load.reading().published >= 9


def test_a_fetcher_follows_a_load_and_fails_no_window(tmp_path: Path) -> None:
    load = Load(LoadPlan(FIRST, DAYS, rate=20.0, records_per_document=24), time.monotonic)
    plan = FetchPlan(FIRST, FIRST + timedelta(days=DAYS - 1))
    with serving_load(load, hold_s=0.3) as server:  # the eighth request at once waits for 0.35 s: it is tried again
        source, clock = load_source("simulator").with_base_url(server.url), SystemClock()
        with closing(Fetcher(source, HttpSource(source, clock), DocumentArchive(tmp_path), plan, clock)) as fetcher:
            records = FetcherDriver(fetcher).until_exhausted()
            windows = fetcher.status()["windows"]
        wait_until(lambda: server.load_reading().fetched == PLAN.documents)

    assert windows == {"due": 0, "done": PLAN.documents, "failed": 0, "missing": 0, "suspect": 0}
    assert sum(b":reference:" not in record.key for record in records) == PLAN.documents * 24


def test_a_long_season_keeps_the_cards_of_two_half_years() -> None:
    season = SimulatedSeason(SeasonPlan(days=3000, venues=(5,), first_date=FIRST))

    first_day = season.races(FIRST)
    for number in range(0, 3000, 150):
        season.races(FIRST + timedelta(days=number))

    assert len(season._cards) == HALF_YEARS_CACHED
    assert season.races(FIRST) == first_day


def run_command(*options: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "headrace", "simulate", "--sources", "2", "--fail-rate", "0", *options],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "COLUMNS": "200"},
    )


def test_the_command_serves_a_load_reports_it_and_stops() -> None:
    options = ("--from", str(FIRST), "--days", str(DAYS), "--rate", "100", "--report-every", "0.1")
    with killed_at_end(run_command(*options)) as process:
        assert process.stdout is not None
        url, settings = (process.stdout.readline() for _ in range(2))
        with httpx2.Client(base_url=url.removeprefix("simulator: ").strip(), timeout=DEADLINE_S) as client:
            bodies = [client.get(path_of(number)).content for number in range(PLAN.documents)]
        complete = next(line for line in process.stdout if line.startswith("complete"))
        process.terminate()

        assert process.wait(DEADLINE_S) == 0

    assert "fetcher.from to 2020-01-01 and fetcher.to to 2020-01-03" in settings
    assert "9 of 9 published, 9 fetched, 0 not fetched yet, 0 fetched again" in complete
    publisher = Publisher(
        SimulatedSeason(SeasonPlan(days=DAYS, venues=(3, 15), first_date=FIRST)), PublicationSchedule()
    )
    pages = [publisher.page(path_of(number), SystemClock().now()) for number in range(PLAN.documents)]
    assert bodies == [page.body for page in pages if page is not None]


@pytest.mark.parametrize(
    ("options", "word"),
    [
        (["--rate", "0"], "documents per second"),
        (["--rate", "2", "--from", "2999-01-01"], "past days"),
        (["--rate", "2", "--report-every", "0"], "between reports"),
        (["--rate", "2", "--from", "2020-01-01", "--sources", "25"], "1 to 24 venues"),
        (
            ["--rate", "2", "--clock-start", "2026-01-03T12:00:00+09:00", "--clock-speed", "60", "--clock-epoch", "0"],
            "--clock-speed",
        ),
    ],
)
def test_a_wrong_option_of_a_load_gives_an_error_of_one_line(options: list[str], word: str) -> None:
    with killed_at_end(run_command(*options)) as process:
        _, error = process.communicate(timeout=DEADLINE_S)

    assert process.returncode == 2
    assert error.count("\n") == 1
    assert word in error
