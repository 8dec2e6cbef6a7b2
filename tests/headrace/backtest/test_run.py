"""A back-test over a simulated season in a folder: its predictions do not depend on what happens after them."""

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
from services.predictor.learners.network.fit import OptimizerConfig
from services.predictor.policy.comparison import AGENT
from services.predictor.policy.evaluate import EVERY_EVENT
from services.predictor.policy.hyperparameters import DqnConfig
from services.predictor.training.hyperparameters import EnsembleConfig
from shared.errors import ConfigError
from simulator.documents import FEEDS, document, final_stage
from simulator.season import SeasonPlan, SimulatedSeason
from tests.services.fetcher.synthetic_documents import record_file

pytestmark = pytest.mark.slow
FIRST = date(2026, 1, 1)
SPANS = Spans(
    FIRST + timedelta(days=7), FIRST + timedelta(days=9), FIRST + timedelta(days=10), FIRST + timedelta(days=13)
)
TURN = FIRST + timedelta(days=12)
"""The day of the test span on which the two archives begin to differ."""
SMALL_CONFIG = EnsembleConfig(
    networks=1,
    card_trees=1,
    observation_trees=1,
    top3_trees=1,
    width=16,
    dropout=0.1,
    network=OptimizerConfig(epochs=1, batch=64),
    boosting=BoostingOptions(leaves=4, min_rows_in_leaf=20, max_trees=8, patience_trees=4),
    policy=DqnConfig(market_epochs=1, epochs=1),
    policy_members=1,
)
Key = tuple[str, int, int]


def write_season(folder: Path, seed: int, first: date = FIRST, days: int = 15) -> None:
    """Two venues, twelve events a day at each."""
    season = SimulatedSeason(SeasonPlan(seed=seed, first_date=FIRST, days=15, venues=(3, 9)))
    for day in (first + timedelta(days=offset) for offset in range(days)):
        for feed in FEEDS:
            record_file(
                folder, feed, day, document(feed, [(race, final_stage(feed, race)) for race in season.races(day)])
            )


def file_of(folder: Path, feed: str, day: date) -> Path:
    return folder / "v2" / feed / f"{day:%Y}" / f"{day:%Y%m%d}.json.gz"


def races(folder: Path, feed: str, day: date) -> list[dict[str, Any]]:
    slices: list[dict[str, Any]] = json.loads(gzip.decompress(file_of(folder, feed, day).read_bytes()))[feed]
    return slices


def change(folder: Path, feed: str, day: date, edit: Callable[[list[dict[str, Any]]], list[dict[str, Any]]]) -> None:
    record_file(folder, feed, day, json.dumps({feed: edit(races(folder, feed, day))}).encode())


def key_of(race: dict[str, Any]) -> Key:
    return race["race_date"], race["race_stadium_number"], race["race_number"]


def places(race: dict[str, Any]) -> list[int | None]:
    return [boat["racer_place_number"] for boat in race["boats"]]


def request_of(archive: Path, directory: Path, name: str) -> BacktestRequest:
    return BacktestRequest(
        spans=SPANS,
        archive=archive,
        out=directory / f"{name}.csv",
        pictures=directory / f"{name}-pictures",
        models_dir=directory / "models",
        ablation=False,
        references=False,
        workers=1,
        training=SMALL_CONFIG,
    )


def rows_of(file: Path) -> dict[Key, list[str]]:
    """The lines of each event."""
    header, *lines = file.read_text().splitlines()
    assert header == COLUMNS
    rows = defaultdict(list)
    for line in lines:
        day, stadium, race, _ = line.split(",", 3)
        rows[day, int(stadium), int(race)].append(line)
    return rows


@dataclass(frozen=True)
class FinishedBacktest:
    archive: Path
    out: Path
    report: BacktestReport
    directory: Path
    messages: list[str]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> FinishedBacktest:
    """A back-test over days with an absent boat, a dead heat for the first place and an event without observation."""
    directory = tmp_path_factory.mktemp("backtest")
    archive = directory / "archive"
    write_season(archive, seed=5)
    change(archive, "results", SPANS.test_from, with_anomalies)
    change(archive, "previews", SPANS.test_from, lambda previews: previews[:2] + previews[3:])
    messages: list[str] = []
    request = replace(request_of(archive, directory, "anomalies"), ablation=True, references=True, save_model=True)
    return FinishedBacktest(archive, request.out, run_backtest(request, messages.append), directory, messages)


def with_anomalies(results: list[dict[str, Any]]) -> list[dict[str, Any]]:
    absent, heat = results[0]["boats"], results[1]["boats"]
    last = max(absent, key=lambda boat: boat["racer_place_number"] or 0)
    last["racer_place_number"] = 16
    for boat in heat:
        boat["racer_place_number"] = 1 if boat["racer_place_number"] == 2 else boat["racer_place_number"]
    return results


def test_every_event_with_six_entries_and_one_winner_has_six_rows(finished: FinishedBacktest) -> None:
    days = [SPANS.test_from + timedelta(days=offset) for offset in range(4)]
    cards = {key_of(race): len(race["boats"]) for day in days for race in races(finished.archive, "programs", day)}
    expected = {
        key_of(race)
        for day in days
        for race in races(finished.archive, "results", day)
        if places(race).count(1) == 1 and cards[key_of(race)] == 6
    }

    rows = rows_of(finished.out)

    assert set(rows) == expected
    assert 80 < len(rows) < 96
    assert all([line.split(",")[3] for line in lines] == list("123456") for lines in rows.values())
    assert (
        finished.report.coverage["told"]
        == finished.report.coverage["of them with six entries and one winner"]
        == len(rows)
    )


def test_an_absent_boat_is_predicted_and_a_dead_heat_is_not_evaluated(finished: FinishedBacktest) -> None:
    absent, heat, _ = (key_of(race) for race in races(finished.archive, "results", SPANS.test_from)[:3])

    rows = rows_of(finished.out)

    assert 16 in places(races(finished.archive, "results", SPANS.test_from)[0])
    assert len(rows[absent]) == 6
    assert heat not in rows


def test_rows_are_sorted_and_their_probabilities_sum_to_one(finished: FinishedBacktest) -> None:
    with finished.out.open() as opened:
        rows = list(csv.DictReader(opened))

    keys = [(row["date"], int(row["stadium"]), int(row["race"]), int(row["boat"])) for row in rows]
    assert keys == sorted(keys)
    for start in range(0, len(rows), 6):
        event = rows[start : start + 6]
        assert math.isclose(sum(float(row["p_win"]) for row in event), 1, abs_tol=1e-12)
        assert all(0 < float(row["p_win"]) < 1 and 0 < float(row["p_top3"]) < 1 for row in event)
        assert sum(int(row["bet"]) for row in event) <= 1
    assert any(len(row["p_win"]) > 15 for row in rows)


def test_an_event_without_observation_is_predicted_from_its_card(finished: FinishedBacktest) -> None:
    coverage = finished.report.coverage

    assert coverage["told from the card"] == 1
    assert coverage["told as observed"] == coverage["told"] - 1


def test_the_report_compares_the_model_with_baselines_members_and_policies(finished: FinishedBacktest) -> None:
    report = finished.report.json()

    assert [row["model"] for row in report["quality"]] == [
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
    model = next(row for row in report["quality"] if row["model"] == "model")
    assert None not in model.values()
    assert report["quality"][0]["log_loss"] == pytest.approx(math.log(6))
    assert {row["less that of"] for row in report["differences"]} == {row["model"] for row in report["quality"]} - {
        "model"
    }
    assert all(row["difference"]["low"] <= row["difference"]["high"] for row in report["differences"])
    assert [row["month"] for row in report["months"]] == ["2026-01"]
    assert [row["member"] for row in report["shares"] if row["state"] == "observation"] == [
        "network 1",
        "trees 1",
        "networks alone",
        "trees alone",
        "pooled",
    ]
    assert {row["policy"] for row in report["policy"]} == {
        AGENT,
        "always slot 1",
        "random",
        "most probable",
        "p x expected payout",
        "boosting on return",
    }
    json.dumps(report, allow_nan=False)


def test_the_text_explains_the_policy_and_how_often_it_abstained(finished: FinishedBacktest) -> None:
    text = finished.report.text()

    assert "no claim of profit" in text
    every = next(row for row in finished.report.policy if row.policy == AGENT and row.on == EVERY_EVENT)
    assert f"of {every.bets} events and abstained on" in text
    assert "History features are worth" in text


def test_charts_are_written_next_to_the_file(finished: FinishedBacktest) -> None:
    names = {path.name for path in (finished.directory / "anomalies-pictures").iterdir()}

    assert names >= {
        "reliability.png",
        "loss-by-month.png",
        "ablation.png",
        "policy-returns.png",
        "learning-network.png",
        "learning-trees.png",
    }
    assert finished.report.pictures == [str(path) for path in map(Path, finished.report.pictures) if path.is_file()]


def test_the_saved_model_makes_the_same_predictions(
    finished: FinishedBacktest, capfd: pytest.CaptureFixture[str]
) -> None:
    [saved_line] = [line for line in finished.messages if line.startswith("saved as ")]
    version, out = saved_line.split()[2].rstrip(","), finished.directory / "again.csv"

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
            str(finished.archive),
            "--out",
            str(out),
            "--model",
            version,
            "--models-dir",
            str(finished.directory / "models"),
            "--no-references",
            "--output",
            "json",
        ]
    )

    output = capfd.readouterr()
    assert (code, out.read_bytes()) == (0, finished.out.read_bytes())
    assert json.loads(output.out)["coverage"]["told"] == finished.report.coverage["told"]
    assert "test span predicted: " in output.err


def test_a_policy_can_be_forced_to_bet_on_every_event(finished: FinishedBacktest) -> None:
    [saved_line] = [line for line in finished.messages if line.startswith("saved as ")]
    request = replace(
        request_of(finished.archive, finished.directory, "every"),
        model=saved_line.split()[2].rstrip(","),
        bet_on_every_event=True,
    )

    run_backtest(request, lambda _: None)

    own, every = rows_of(finished.out), rows_of(request.out)
    assert all([line[-1] for line in lines].count("1") == 1 for lines in every.values())
    chosen = [key for key, lines in own.items() if "1" in {line[-1] for line in lines}]
    assert all(every[key] == own[key] for key in chosen)
    assert {key: [line[:-1] for line in lines] for key, lines in every.items()} == {
        key: [line[:-1] for line in lines] for key, lines in own.items()
    }


def test_the_future_does_not_change_earlier_predictions(tmp_path: Path) -> None:
    """All files after TURN, and the results of the later races of that day, belong to another season."""
    write_season(tmp_path / "one", seed=5)
    write_season(tmp_path / "two", seed=5)
    write_season(tmp_path / "two", seed=6, first=TURN + timedelta(days=1), days=2)
    closes = {key_of(race): race["race_closed_at"] for race in races(tmp_path / "one", "programs", TURN)}
    changed = sorted(closes, key=lambda key: closes[key])[10:]
    change(tmp_path / "two", "results", TURN, lambda results: with_swapped_results(results, changed))
    known = datetime.fromisoformat(closes[changed[0]]) + timedelta(minutes=15)

    one, two = (predicted_rows(tmp_path / name, tmp_path, name) for name in ("one", "two"))

    before = {key for key in one if key[0] < str(TURN) or datetime.fromisoformat(closes.get(key, "9999-01-01")) < known}
    assert {key for key in before if key[0] == str(TURN)} > set(changed[:1])
    assert {key: one[key] for key in before} == {key: two[key] for key in before}
    after = {key for key in one.keys() & two.keys() if key[0] == str(TURN)} - before
    assert any(one[key] != two[key] for key in after)


def predicted_rows(archive: Path, directory: Path, name: str) -> dict[Key, list[str]]:
    request = request_of(archive, directory, name)
    run_backtest(request, lambda _: None)
    return rows_of(request.out)


def with_swapped_results(results: list[dict[str, Any]], changed: list[Key]) -> list[dict[str, Any]]:
    """Each of these events gets the result of the next one, with its own racers."""
    at = [index for index, race in enumerate(results) if key_of(race) in changed]
    swapped = list(results)
    for index, other in zip(at, at[1:] + at[:1], strict=True):
        own, others = results[index], results[other]
        key_fields = {name: own[name] for name in ("race_date", "race_stadium_number", "race_number")}
        crews = [{name: boat[name] for name in ("racer_number", "racer_name")} for boat in own["boats"]]
        swapped[index] = others | key_fields | {"boats": [a | b for a, b in zip(others["boats"], crews, strict=True)]}
    return swapped


def test_the_same_command_writes_the_same_bytes(finished: FinishedBacktest) -> None:
    request = request_of(finished.archive, finished.directory, "repeated")

    run_backtest(request, lambda _: None)

    assert request.out.read_bytes() == finished.out.read_bytes()


def day_options(**changes: str) -> list[str]:
    options = {
        "train_to": f"{SPANS.train_to}",
        "validate_to": f"{SPANS.validate_to}",
        "test_from": f"{SPANS.test_from}",
        "test_to": f"{SPANS.test_to}",
    } | changes
    return [part for name, value in options.items() for part in (f"--{name.replace('_', '-')}", value)]


@pytest.mark.parametrize(
    ("changes", "message"),
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
    finished: FinishedBacktest, changes: dict[str, str], message: str, capfd: pytest.CaptureFixture[str]
) -> None:
    out = finished.directory / "refused.csv"

    code = command(["backtest", *day_options(**changes), "--archive", str(finished.archive), "--out", str(out)])

    assert (code, out.exists()) == (2, False)
    assert message in capfd.readouterr().err


def test_a_span_without_any_file_is_refused(finished: FinishedBacktest, capfd: pytest.CaptureFixture[str]) -> None:
    archive = finished.directory / "gap"
    write_season(archive, seed=5, days=8)
    write_season(archive, seed=5, first=SPANS.test_from, days=4)

    code = command(
        ["backtest", *day_options(), "--archive", str(archive), "--out", str(finished.directory / "refused.csv")]
    )

    assert code == 2
    expected = "has no file of 2026-01-09 to 2026-01-10: its days are 2026-01-01 to 2026-01-14"
    assert expected in " ".join(capfd.readouterr().err.split())


def test_a_gap_is_printed_and_reported(finished: FinishedBacktest) -> None:
    archive, gap = finished.directory / "shorter", SPANS.test_from + timedelta(days=1)
    write_season(archive, seed=5)
    for feed in FEEDS:
        file_of(archive, feed, gap).unlink()
    messages: list[str] = []

    report = run_backtest(request_of(archive, finished.directory, "shorter"), messages.append)

    assert f"days that have a file: 13 of 14; none for {gap}" in messages
    assert report.facts["days to train on"] == "8 of 8"
    assert report.facts["days to validate on"] == "2 of 2"
    assert report.facts["days to test on"] == f"3 of 4; none for {gap}"


def test_a_missing_folder_is_refused_before_anything_is_read(
    finished: FinishedBacktest, capfd: pytest.CaptureFixture[str]
) -> None:
    missing = finished.directory / "nowhere" / "out.csv"

    for archive, out, message in (
        (finished.archive, missing, f"there is no folder {missing.parent}"),
        (finished.archive, finished.directory, "is a folder"),
        (finished.directory / "models", finished.out, "v2/"),
    ):
        assert command(["backtest", *day_options(), "--archive", str(archive), "--out", str(out)]) == 2
        assert message in capfd.readouterr().err


def test_a_model_that_has_seen_the_test_span_is_refused(finished: FinishedBacktest) -> None:
    [saved_line] = [line for line in finished.messages if line.startswith("saved as ")]
    early = Spans(FIRST + timedelta(days=5), FIRST + timedelta(days=6), FIRST + timedelta(days=7), SPANS.test_to)
    request = replace(
        request_of(finished.archive, finished.directory, "early"), spans=early, model=saved_line.split()[2].rstrip(",")
    )

    with pytest.raises(ConfigError, match="was fitted on days up to 2026-01-10"):
        run_backtest(request, lambda _: None)
