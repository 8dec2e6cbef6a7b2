"""A back-test over a made-up season in a folder: what is told of an event does not depend on what came after."""

from __future__ import annotations

import csv
import gzip
import json
import math
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from headrace.backtest.report import BacktestReport
from headrace.backtest.request import BacktestRequest
from headrace.backtest.run import run_backtest
from headrace.cli import command
from services.predictor.backtest.walk_forward import COLUMNS, Spans
from services.predictor.learners.boosting.fit import BoostingOptions
from services.predictor.learners.network.fit import OptimizerConfig as NetworkPlan
from services.predictor.policy.comparison import AGENT
from services.predictor.policy.evaluate import EVERY_EVENT
from services.predictor.policy.hyperparameters import DqnConfig
from services.predictor.training.hyperparameters import EnsembleConfig
from shared.errors import ConfigError
from simulator.documents import FEEDS, document, final_stage
from simulator.season import SeasonPlan, SimulatedSeason
from tests.services.fetcher.made import record_file

pytestmark = pytest.mark.slow
FIRST = date(2026, 1, 1)
SPANS = Spans(
    FIRST + timedelta(days=7), FIRST + timedelta(days=9), FIRST + timedelta(days=10), FIRST + timedelta(days=13)
)
TURN = FIRST + timedelta(days=12)
"""The day in the test span on which the future begins to differ."""
TINY = EnsembleConfig(
    networks=1,
    card_trees=1,
    observation_trees=1,
    top3_trees=1,
    width=16,
    dropout=0.1,
    network=NetworkPlan(epochs=1, batch=64),
    boosting=BoostingOptions(leaves=4, min_rows_in_leaf=20, max_trees=8, patience_trees=4),
    policy=DqnConfig(market_epochs=1, epochs=1),
    policy_members=1,
)
Key = tuple[str, int, int]


def season(folder: Path, seed: int, first: date = FIRST, days: int = 15) -> None:
    """Two venues, twelve events a day at each."""
    made = SimulatedSeason(SeasonPlan(seed=seed, first_date=FIRST, days=15, venues=(3, 9)))
    for day in (first + timedelta(days=offset) for offset in range(days)):
        for feed in FEEDS:
            record_file(
                folder, feed, day, document(feed, [(race, final_stage(feed, race)) for race in made.races(day)])
            )


def file_of(folder: Path, feed: str, day: date) -> Path:
    return folder / "v2" / feed / f"{day:%Y}" / f"{day:%Y%m%d}.json.gz"


def races(folder: Path, feed: str, day: date) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(gzip.decompress(file_of(folder, feed, day).read_bytes()))[feed]
    return found


def change(folder: Path, feed: str, day: date, edit: Callable[[list[dict[str, Any]]], list[dict[str, Any]]]) -> None:
    record_file(folder, feed, day, json.dumps({feed: edit(races(folder, feed, day))}).encode())


def key_of(race: dict[str, Any]) -> Key:
    return race["race_date"], race["race_stadium_number"], race["race_number"]


def places(race: dict[str, Any]) -> list[int | None]:
    return [boat["racer_place_number"] for boat in race["boats"]]


def wish(archive: Path, place: Path, name: str) -> BacktestRequest:
    return BacktestRequest(
        spans=SPANS,
        archive=archive,
        out=place / f"{name}.csv",
        pictures=place / f"{name}-pictures",
        models_dir=place / "models",
        ablation=False,
        references=False,
        workers=1,
        training=TINY,
    )


def rows_of(file: Path) -> dict[Key, list[str]]:
    """The lines of each event."""
    head, *found = file.read_text().splitlines()
    assert head == COLUMNS
    rows = defaultdict(list)
    for line in found:
        day, stadium, race, _ = line.split(",", 3)
        rows[day, int(stadium), int(race)].append(line)
    return rows


@dataclass(frozen=True)
class Done:
    archive: Path
    out: Path
    report: BacktestReport
    place: Path
    said: list[str]


@pytest.fixture(scope="module")
def odd(tmp_path_factory: pytest.TempPathFactory) -> Done:
    """With a boat that was absent, a dead heat for the first place and an event that nobody observed; judged whole."""
    place = tmp_path_factory.mktemp("backtest")
    archive = place / "archive"
    season(archive, seed=5)
    change(archive, "results", SPANS.test_from, odd_results)
    change(archive, "previews", SPANS.test_from, lambda found: found[:2] + found[3:])
    said: list[str] = []
    asked = replace(wish(archive, place, "odd"), ablation=True, references=True, save_model=True)
    return Done(archive, asked.out, run_backtest(asked, said.append), place, said)


def odd_results(found: list[dict[str, Any]]) -> list[dict[str, Any]]:
    absent, heat = found[0]["boats"], found[1]["boats"]
    last = max(absent, key=lambda boat: boat["racer_place_number"] or 0)
    last["racer_place_number"] = 16
    for boat in heat:
        boat["racer_place_number"] = 1 if boat["racer_place_number"] == 2 else boat["racer_place_number"]
    return found


def test_every_event_with_six_entries_and_one_winner_has_six_rows(odd: Done) -> None:
    days = [SPANS.test_from + timedelta(days=offset) for offset in range(4)]
    cards = {key_of(race): len(race["boats"]) for day in days for race in races(odd.archive, "programs", day)}
    expected = {
        key_of(race)
        for day in days
        for race in races(odd.archive, "results", day)
        if places(race).count(1) == 1 and cards[key_of(race)] == 6
    }

    rows = rows_of(odd.out)

    assert set(rows) == expected
    assert 80 < len(rows) < 96
    assert all([line.split(",")[3] for line in lines] == list("123456") for lines in rows.values())
    assert odd.report.coverage["told"] == odd.report.coverage["of them with six entries and one winner"] == len(rows)


def test_a_boat_that_was_absent_is_told_and_a_dead_heat_is_not_judged(odd: Done) -> None:
    absent, heat, _ = (key_of(race) for race in races(odd.archive, "results", SPANS.test_from)[:3])

    rows = rows_of(odd.out)

    assert 16 in places(races(odd.archive, "results", SPANS.test_from)[0])
    assert len(rows[absent]) == 6
    assert heat not in rows


def test_rows_are_whole_probabilities_in_order(odd: Done) -> None:
    with odd.out.open() as opened:
        found = list(csv.DictReader(opened))

    keys = [(row["date"], int(row["stadium"]), int(row["race"]), int(row["boat"])) for row in found]
    assert keys == sorted(keys)
    for start in range(0, len(found), 6):
        event = found[start : start + 6]
        assert math.isclose(sum(float(row["p_win"]) for row in event), 1, abs_tol=1e-12)
        assert all(0 < float(row["p_win"]) < 1 and 0 < float(row["p_top3"]) < 1 for row in event)
        assert sum(int(row["bet"]) for row in event) <= 1
    assert any(len(row["p_win"]) > 15 for row in found)


def test_what_was_never_observed_is_told_from_the_card(odd: Done) -> None:
    coverage = odd.report.coverage

    assert coverage["told from the card"] == 1
    assert coverage["told as observed"] == coverage["told"] - 1


def test_the_model_is_shown_beside_references_parts_and_policies(odd: Done) -> None:
    found = odd.report.json()

    assert [row["model"] for row in found["quality"]] == [
        "uniform",
        "slot base rate",
        "conditional logit, card",
        "conditional logit, + observation",
        "conditional logit, + history",
        "LightGBM softmax",
        "model",
        "model, card only",
        "model, without history",
    ]
    model = next(row for row in found["quality"] if row["model"] == "model")
    assert None not in model.values()
    assert found["quality"][0]["log_loss"] == pytest.approx(math.log(6))
    assert {row["less that of"] for row in found["differences"]} == {row["model"] for row in found["quality"]} - {
        "model"
    }
    assert all(row["difference"]["low"] <= row["difference"]["high"] for row in found["differences"])
    assert [row["month"] for row in found["months"]] == ["2026-01"]
    assert [row["member"] for row in found["shares"] if row["state"] == "observation"] == [
        "network 1",
        "trees 1",
        "networks alone",
        "trees alone",
        "pooled",
    ]
    assert {row["policy"] for row in found["policy"]} == {
        AGENT,
        "always slot 1",
        "random",
        "most probable",
        "p x expected payout",
        "boosting on return",
    }
    json.dumps(found, allow_nan=False)


def test_the_text_says_what_a_policy_is_and_how_often_it_abstained(odd: Done) -> None:
    text = odd.report.text()

    assert "no claim of profit" in text
    every = next(row for row in odd.report.policy if row.policy == AGENT and row.on == EVERY_EVENT)
    assert f"of {every.bets} events and abstained on" in text
    assert "History features are worth" in text


def test_pictures_lie_beside_the_file(odd: Done) -> None:
    names = {path.name for path in (odd.place / "odd-pictures").iterdir()}

    assert names >= {
        "reliability.png",
        "loss-by-month.png",
        "ablation.png",
        "policy-returns.png",
        "learning-network.png",
        "learning-trees.png",
    }
    assert odd.report.pictures == [str(path) for path in map(Path, odd.report.pictures) if path.is_file()]


def test_the_model_that_was_kept_tells_the_same_again(odd: Done, capfd: pytest.CaptureFixture[str]) -> None:
    [kept] = [line for line in odd.said if line.startswith("saved as ")]
    version, out = kept.split()[2].rstrip(","), odd.place / "again.csv"

    code = command(
        [
            "backtest",
            "--train-to",
            f"{SPANS.train_to}",
            "--validate-to",
            f"{SPANS.validate_to}",
            "--test-from",
            f"{SPANS.test_from}",
            "--test-to",
            f"{SPANS.test_to}",
            "--archive",
            str(odd.archive),
            "--out",
            str(out),
            "--model",
            version,
            "--models-dir",
            str(odd.place / "models"),
            "--no-references",
            "--output",
            "json",
        ]
    )

    written = capfd.readouterr()
    assert (code, out.read_bytes()) == (0, odd.out.read_bytes())
    assert json.loads(written.out)["coverage"]["told"] == odd.report.coverage["told"]
    assert "test span predicted: " in written.err


def test_a_policy_can_be_asked_what_it_would_back_if_it_had_to(odd: Done) -> None:
    [kept] = [line for line in odd.said if line.startswith("saved as ")]
    asked = replace(wish(odd.archive, odd.place, "every"), model=kept.split()[2].rstrip(","), bet_on_every_event=True)

    run_backtest(asked, lambda _: None)

    own, every = rows_of(odd.out), rows_of(asked.out)
    assert all([line[-1] for line in lines].count("1") == 1 for lines in every.values())
    chosen = [key for key, lines in own.items() if "1" in {line[-1] for line in lines}]
    assert all(every[key] == own[key] for key in chosen)
    assert {key: [line[:-1] for line in lines] for key, lines in every.items()} == {
        key: [line[:-1] for line in lines] for key, lines in own.items()
    }


def test_the_future_changes_nothing_of_what_was_told_before(tmp_path: Path) -> None:
    """All files after the turn are of another season; on the day itself the results of the later races are."""
    season(tmp_path / "one", seed=5)
    season(tmp_path / "two", seed=5)
    season(tmp_path / "two", seed=6, first=TURN + timedelta(days=1), days=2)
    closes = {key_of(race): race["race_closed_at"] for race in races(tmp_path / "one", "programs", TURN)}
    changed = sorted(closes, key=lambda key: closes[key])[10:]
    change(tmp_path / "two", "results", TURN, lambda found: turned(found, changed))
    known = datetime.fromisoformat(closes[changed[0]]) + timedelta(minutes=15)

    one, two = (told(tmp_path / name, tmp_path, name) for name in ("one", "two"))

    before = {key for key in one if key[0] < str(TURN) or datetime.fromisoformat(closes.get(key, "9999-01-01")) < known}
    assert {key for key in before if key[0] == str(TURN)} > set(changed[:1])
    assert {key: one[key] for key in before} == {key: two[key] for key in before}
    after = {key for key in one.keys() & two.keys() if key[0] == str(TURN)} - before
    assert any(one[key] != two[key] for key in after)


def told(archive: Path, place: Path, name: str) -> dict[Key, list[str]]:
    asked = wish(archive, place, name)
    run_backtest(asked, lambda _: None)
    return rows_of(asked.out)


def turned(found: list[dict[str, Any]], changed: list[Key]) -> list[dict[str, Any]]:
    """Each of these events ends as the next of them did, in the same boats."""
    at = [place for place, race in enumerate(found) if key_of(race) in changed]
    turned = list(found)
    for place, other in zip(at, at[1:] + at[:1], strict=True):
        mine, theirs = found[place], found[other]
        own = {name: mine[name] for name in ("race_date", "race_stadium_number", "race_number")}
        crews = [{name: boat[name] for name in ("racer_number", "racer_name")} for boat in mine["boats"]]
        turned[place] = theirs | own | {"boats": [a | b for a, b in zip(theirs["boats"], crews, strict=True)]}
    return turned


def test_the_same_command_writes_the_same_bytes(odd: Done) -> None:
    asked = wish(odd.archive, odd.place, "repeated")

    run_backtest(asked, lambda _: None)

    assert asked.out.read_bytes() == odd.out.read_bytes()


def days(**over: str) -> list[str]:
    given = {
        "train_to": f"{SPANS.train_to}",
        "validate_to": f"{SPANS.validate_to}",
        "test_from": f"{SPANS.test_from}",
        "test_to": f"{SPANS.test_to}",
    } | over
    return [part for name, value in given.items() for part in (f"--{name.replace('_', '-')}", value)]


@pytest.mark.parametrize(
    ("over", "said"),
    [
        ({"validate_to": "2026-01-08"}, "--validate-to 2026-01-08 must be after --train-to 2026-01-08"),
        ({"test_from": "2026-01-10"}, "--test-from 2026-01-10 must be after --validate-to 2026-01-10"),
        ({"test_to": "2026-01-10"}, "--test-to 2026-01-10 must not be before --test-from 2026-01-11"),
        ({"test_from": "2026-03-01", "test_to": "2026-03-02"}, "has no file of 2026-03-01 to 2026-03-02"),
        ({"train_to": "January"}, "--train-to January: expected a day"),
        ({"train_to": "2025-12-01"}, "--train-to 2025-12-01: the archive begins on 2026-01-01"),
    ],
)
def test_days_that_do_not_fit_are_refused(
    odd: Done, over: dict[str, str], said: str, capfd: pytest.CaptureFixture[str]
) -> None:
    out = odd.place / "refused.csv"

    code = command(["backtest", *days(**over), "--archive", str(odd.archive), "--out", str(out)])

    assert (code, out.exists()) == (2, False)
    assert said in capfd.readouterr().err


def test_a_span_without_any_file_is_refused(odd: Done, capfd: pytest.CaptureFixture[str]) -> None:
    archive = odd.place / "gap"
    season(archive, seed=5, days=8)
    season(archive, seed=5, first=SPANS.test_from, days=4)

    code = command(["backtest", *days(), "--archive", str(archive), "--out", str(odd.place / "refused.csv")])

    assert code == 2
    expected = "has no file of 2026-01-09 to 2026-01-10: its days are 2026-01-01 to 2026-01-14"
    assert expected in " ".join(capfd.readouterr().err.split())


def test_a_gap_is_told_and_reported(odd: Done) -> None:
    archive, gap = odd.place / "shorter", SPANS.test_from + timedelta(days=1)
    season(archive, seed=5)
    for feed in FEEDS:
        file_of(archive, feed, gap).unlink()
    said: list[str] = []

    report = run_backtest(wish(archive, odd.place, "shorter"), said.append)

    assert f"days that have a file: 13 of 14; none for {gap}" in said
    assert report.facts["days to train on"] == "8 of 8"
    assert report.facts["days to validate on"] == "2 of 2"
    assert report.facts["days to test on"] == f"3 of 4; none for {gap}"


def test_a_place_that_is_not_there_is_refused_before_anything_is_read(
    odd: Done, capfd: pytest.CaptureFixture[str]
) -> None:
    nowhere = odd.place / "nowhere" / "out.csv"

    for archive, out, said in (
        (odd.archive, nowhere, f"there is no folder {nowhere.parent}"),
        (odd.archive, odd.place, "is a folder"),
        (odd.place / "models", odd.out, "v2/"),
    ):
        assert command(["backtest", *days(), "--archive", str(archive), "--out", str(out)]) == 2
        assert said in capfd.readouterr().err


def test_a_model_that_has_seen_the_test_span_is_refused(odd: Done) -> None:
    [kept] = [line for line in odd.said if line.startswith("saved as ")]
    early = Spans(FIRST + timedelta(days=5), FIRST + timedelta(days=6), FIRST + timedelta(days=7), SPANS.test_to)
    asked = replace(wish(odd.archive, odd.place, "early"), spans=early, model=kept.split()[2].rstrip(","))

    with pytest.raises(ConfigError, match="was fitted on days up to 2026-01-10"):
        run_backtest(asked, lambda _: None)
