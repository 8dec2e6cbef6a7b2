"""The fetcher on the real recorded days. tests/recorded_days.py names their folder."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from datetime import date
from pathlib import Path

import pytest

from services.fetcher.archive.store import DocumentArchive
from services.fetcher.fetch import Fetcher
from services.fetcher.planning.windows import FetchPlan
from services.fetcher.sources.recorded_files import RecordedFileSource
from services.fetcher.sources.yaml_file import load_source
from shared.clock import SystemClock
from shared.runtime.loops.handler import SourceStep
from tests.recorded_days import directory

pytestmark = [pytest.mark.recorded, pytest.mark.slow]
FIRST, LAST = date(2025, 7, 15), date(2026, 3, 31)


@pytest.fixture(scope="module")
def recorded() -> Path:
    return directory()


def run_steps(recorded: Path, archive: Path, cursors: Mapping[str, bytes]) -> tuple[list[SourceStep], Fetcher]:
    source, clock = load_source("boatrace"), SystemClock()
    documents = RecordedFileSource(source, recorded, clock)
    fetcher = Fetcher(
        source, documents, DocumentArchive(archive), FetchPlan(FIRST, LAST, recorded=True), clock, threads=2
    )
    fetcher.load(cursors)
    steps_so_far = []
    while not fetcher.status()["exhausted"]:
        step = fetcher.next(0.5)
        if step is not None:
            # Without the values, which would take 330 MB.
            steps_so_far.append(SourceStep([each._replace(value=b"") for each in step.records], step.cursors))
    fetcher.close()
    return steps_so_far, fetcher


def test_all_days_are_fetched_completely_and_once(recorded: Path, tmp_path: Path) -> None:
    first_run, fetcher = run_steps(recorded, tmp_path, {})
    cursors = {key: value for step in first_run for key, value in step.cursors.items()}

    again, _ = run_steps(recorded, tmp_path, cursors)

    records = [record for step in first_run for record in step.records]
    assert Counter(record.topic for record in records) == {"raw-events": 118_080 + 9}
    assert len({record.headers["event_id"] for record in records}) == len(records)
    assert len({record.key for record in records}) == 39_360 + 9
    assert fetcher.status() == {
        "windows": {"due": 0, "done": 780, "failed": 0, "missing": 0, "suspect": 0},
        "failed": [],
        "changes": [],
        "exhausted": True,
        "warning": None,
        "days": {"asked": 260, "found": 260, "missing": [], "more_gaps": 0},
    }
    assert max(len(step.records) for step in first_run) < 2_300
    assert again == []


def test_the_first_and_the_last_day_are_found(recorded: Path) -> None:
    assert RecordedFileSource(load_source("boatrace"), recorded, SystemClock()).day_range() == (FIRST, LAST)
