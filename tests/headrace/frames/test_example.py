"""The calls that docs/frames.md begins with, over an embedded database and over a URL; the results that frames find."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable, Iterator
from contextlib import chdir
from pathlib import Path
from typing import Any

import pandas as pd
import psycopg
import pytest
from pandas.testing import assert_frame_equal

from headrace.database.access import open_database, prepare
from headrace.database.embedded import READER, EmbeddedPostgres
from headrace.frames import BadArgument, Headrace, InvalidFrame, connect
from services.predictor.data.events import events_of
from services.predictor.data.profile import BOATRACE
from services.predictor.features.history import History
from services.predictor.registry import transitions
from services.predictor.registry.store import Registry, Tensors
from services.predictor.storage.postgres_facts import read_settled
from shared.settings.sections import Settings
from tests.headrace.frames.test_features import Description
from tests.headrace.plots.season import FIRST, MODEL, SHADOW, load_season
from tests.services.predictor.features.reading import encoding_of
from tests.services.predictor.model_requests import order
from tests.services.predictor.small_models import tensors_of

VENUES = (7, 9)
BACKTEST = "date,stadium,race,boat,p_win,p_top3,bet\n2026-01-31,7,4,1,0.6,0.9,1\n2026-01-31,7,4,2,0.4,0.8,0\n"
NOON = "2026-01-31T12:00+09:00"
Opened = Callable[[], Headrace]


@pytest.fixture(scope="module")
def installation(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A working directory with eight days in the embedded database of .headrace, and a live model."""
    folder = tmp_path_factory.mktemp("installation")
    settings = Settings(data_dir=folder / ".headrace")
    with open_database(settings) as access:
        prepare(access, settings)
        with psycopg.connect(EmbeddedPostgres(settings.data_dir).url_with_password()) as connection:
            load_season(connection, days=8, venues=VENUES)
            make_live(settings.data_dir / "models", connection)
        yield folder


def make_live(models_dir: Path, connection: psycopg.Connection[Any]) -> None:
    def build(version: str, description: Description, tensors: Tensors) -> str:
        return version

    events = events_of(read_settled(connection), BOATRACE.slots)
    history = History(BOATRACE)
    history.fold(events)
    registry = Registry(models_dir, Description, build)
    version = registry.save(Description(encoding=encoding_of(events, history)), "2026-02-01", tensors_of(1), order())
    transitions.promote(models_dir, version, order(), None)


@pytest.fixture(params=["embedded", "url"])
def opened(request: pytest.FixtureRequest, installation: Path, tmp_path: Path) -> Iterator[Opened]:
    """connect(), in the working directory of the installation; or with the reader's URL."""
    (tmp_path / "march.csv").write_text(BACKTEST)
    url = EmbeddedPostgres(installation / ".headrace").url_with_password(READER)
    (tmp_path / ".headrace").symlink_to(installation / ".headrace")
    with chdir(tmp_path):
        yield connect if request.param == "embedded" else lambda: connect(url)


@pytest.fixture
def hr(opened: Opened) -> Iterator[Headrace]:
    with opened() as client:
        yield client


def example_of(repository: Path) -> list[str]:
    text = (repository / "docs" / "frames.md").read_text("utf-8")
    block = text.partition("<!-- example: begin -->\n```python\n")[2].partition("```")[0]
    return [line.split("  # ")[0] for line in block.splitlines()]


def test_every_call_of_the_example_runs_as_written(opened: Opened, repository: Path) -> None:
    first, *calls = example_of(repository)

    with eval(first.removeprefix("hr = "), {"connect": opened}) as hr:
        shown = {call: eval(call, {"hr": hr}) for call in calls}

    assert [call for call, value in shown.items() if isinstance(value, pd.DataFrame) and value.empty] == []
    assert sum(isinstance(value, pd.DataFrame) for value in shown.values()) == len(calls) - 2
    assert Path("data/manifest.json").is_file()


def test_the_frame_finds_the_results_of_its_days(hr: Headrace) -> None:
    predictions, results = hr.predictions(model="live", state="observation"), hr.results()

    table = predictions.headrace.calibration(bins=10)

    assert table["predictions"].sum() > 0
    assert_frame_equal(table, predictions.headrace.calibration(bins=10, results=results))
    assert_frame_equal(predictions.headrace.against("base"), predictions.headrace.against("base", results=results))
    both = hr.predictions(state="observation")
    assert_frame_equal(both.headrace.against(MODEL), both.headrace.against(MODEL, results=results))


def test_a_frame_that_is_selected_sorted_or_copied_has_results(hr: Headrace) -> None:
    predictions = hr.predictions(model="live", state="observation")
    whole = predictions.headrace.calibration()
    one_day = predictions[predictions.event_key.str.contains("2026-01-30")]

    assert_frame_equal(predictions.sort_values("probability").copy().headrace.calibration(), whole)
    assert_frame_equal(pd.concat([predictions[:100], predictions[100:]]).headrace.calibration(), whole)
    assert_frame_equal(
        one_day.headrace.calibration(), one_day.headrace.calibration(results=hr.results(day="2026-01-30"))
    )
    assert_frame_equal(predictions.iloc[:0].headrace.calibration(), whole.iloc[:0])
    assert_frame_equal(hr.predictions("1999").headrace.calibration(), whole.iloc[:0])
    assert hr.predictions("1999").headrace.against("base").empty


def test_a_frame_outlives_its_client_and_keeps_no_address(opened: Opened) -> None:
    with opened() as client:
        predictions = client.predictions(model="live", state="observation")

    attributes = json.dumps(predictions.attrs)
    stored = pickle.loads(pickle.dumps(predictions))

    assert predictions.headrace.calibration()["predictions"].sum() > 0
    assert [part for part in ("postgresql", "headrace_reader", "127.0.0.1", "/") if part in attributes] == []
    assert_frame_equal(stored.headrace.calibration(), predictions.headrace.calibration())


def test_without_its_origin_a_frame_asks_for_results(hr: Headrace) -> None:
    days = [hr.predictions(day, model="live", state="observation") for day in ("2026-01-30", "2026-01-31")]
    both = pd.concat(days)

    with pytest.raises(InvalidFrame, match=r"pd\.concat.*results=hr\.results"):
        both.headrace.calibration()
    both.attrs["origin"] = {"database": "of another process"}
    with pytest.raises(InvalidFrame, match=r"results=hr\.results"):
        both.headrace.against("base")
    assert both.headrace.calibration(results=hr.results("2026-01"))["predictions"].sum() > 0


def test_as_of_an_instant_the_results_are_those_known_then(hr: Headrace) -> None:
    then = hr.as_of(NOON)
    predictions = then.predictions(model="live", state="observation")

    table = predictions.headrace.calibration()

    assert "2026-01-31" in set(predictions.event_key.str.split(":").str[1])  # predicted, not settled yet
    assert_frame_equal(table, predictions.headrace.calibration(results=then.results()))
    assert table["predictions"].sum() < predictions.headrace.calibration(results=hr.results())["predictions"].sum()
    assert_frame_equal(
        predictions.headrace.against("base"), predictions.headrace.against("base", results=then.results())
    )


def test_live_is_the_model_of_the_newest_prediction(hr: Headrace) -> None:
    assert set(hr.predictions().model_version) == {MODEL, SHADOW}
    for name in ("predictions", "decisions", "prediction_scores"):
        assert set(getattr(hr, name)(model="live").model_version) <= {MODEL}
    assert set(hr.predictions(model=["live", SHADOW]).model_version) == {MODEL, SHADOW}
    assert hr.table("predictions", model="live").num_rows == len(hr.predictions(model_version=MODEL))
    assert hr.predictions(model="live").attrs["query"]["model_version"] == MODEL
    assert hr.predictions(model="live", source="nowhere").empty
    assert hr.as_of(f"{FIRST}T00:00Z").predictions(model="live").empty
    with pytest.raises(BadArgument, match="exclude each other"):
        hr.predictions(model="live", model_version=MODEL)


def test_the_model_that_was_live_at_an_instant(hr: Headrace, installation: Path) -> None:
    url = EmbeddedPostgres(installation / ".headrace").url_with_password()
    newer = "UPDATE facts.predictions SET model_version = 'newer' WHERE NOT shadow AND as_of > '2026-01-31T12:00Z'"
    older = "UPDATE facts.predictions SET model_version = %s WHERE model_version = 'newer'"
    with psycopg.connect(url, autocommit=True) as owner:
        owner.execute(newer)
        try:
            assert set(hr.predictions(model="live").model_version) == {"newer"}
            assert set(hr.as_of(NOON).predictions(model="live").model_version) == {MODEL}
            assert set(hr.as_of(NOON).prediction_scores(model="live").model_version) == {MODEL}
        finally:
            owner.execute(older, (MODEL,))
