"""The simulator's documents compared with recorded ones of the real source."""

from __future__ import annotations

import gzip
import json
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from simulator.documents import FEEDS, document, final_stage
from simulator.races import Race
from simulator.season import SeasonPlan, SimulatedSeason
from tests.recorded_days import directory
from tests.simulator.documented_keys import ENTRY_KEYS, PAYOUT_KEYS, RACE_KEYS, boats_of, kinds

pytestmark = [pytest.mark.recorded, pytest.mark.slow]
DAYS = ("20260131", "20251231", "20260111")
# Types that occur in real documents, but not on the days above.
KINDS_SEEN_ELSEWHERE = {
    "race_weather_number": {"NoneType"},
    "racer_average_start_timing": {"NoneType"},
    "racer_start_timing": {"int"},
}


@pytest.fixture(scope="module")
def archive() -> Path:
    return directory()


def real(archive: Path, feed: str) -> list[dict[str, Any]]:
    paths = [archive / "v2" / feed / day[:4] / f"{day}.json.gz" for day in DAYS]
    return [race for path in paths for race in json.loads(gzip.decompress(path.read_bytes()))[feed]]


def simulated(feed: str, races: list[Race]) -> list[dict[str, Any]]:
    parsed: list[dict[str, Any]] = json.loads(document(feed, [(race, final_stage(feed, race)) for race in races]))[feed]
    return parsed


@pytest.mark.parametrize("feed", FEEDS)
def test_real_documents_have_the_documented_keys(feed: str, archive: Path) -> None:
    for race in real(archive, feed):
        assert tuple(race) == RACE_KEYS[feed]
        assert {tuple(boat) for boat in boats_of(race)} == {ENTRY_KEYS[feed]}
        assert tuple(race.get("payouts", PAYOUT_KEYS)) == PAYOUT_KEYS


@pytest.mark.parametrize("feed", FEEDS)
def test_every_field_has_only_types_of_the_real_one(feed: str, archive: Path, usual_races: list[Race]) -> None:
    expected = kinds(real(archive, feed))

    for key, seen in kinds(simulated(feed, usual_races[:2880])).items():
        allowed = expected[key] | KINDS_SEEN_ELSEWHERE.get(key, set())
        # Venue 21 writes decimals since March only; boat 0 turns an object into a list.
        allowed |= {"float"} if key.endswith("temperature") else set()
        allowed |= {"list"} if key == "boats" else set()
        assert seen <= allowed, key


@pytest.mark.parametrize("feed", FEEDS)
def test_a_real_document_is_written_in_the_same_style(feed: str, archive: Path) -> None:
    body = gzip.decompress((archive / "v2" / feed / "2026" / "20260131.json.gz").read_bytes())
    simulated_body = document(
        feed, [(r, final_stage(feed, r)) for r in SimulatedSeason(SeasonPlan()).races(date(2026, 1, 31))]
    )

    for text in (body, simulated_body):
        assert text == json.dumps(json.loads(text), separators=(",", ":")).encode()


def test_no_name_is_that_of_a_real_racer(archive: Path, usual_races: list[Race]) -> None:
    real_racers = {(boat["racer_name"], boat["racer_number"]) for r in real(archive, "programs") for boat in r["boats"]}
    made_up = {(e.card["racer_name"], e.card["racer_number"]) for race in usual_races for e in race.entries}

    assert not {name for name, _ in real_racers} & {name for name, _ in made_up}
    assert not {number for _, number in real_racers} & {number for _, number in made_up}
