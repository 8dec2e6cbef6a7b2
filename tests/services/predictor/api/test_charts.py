"""Charts over real HTTP and PostgreSQL: what is counted, the numbers behind the picture, and reasons for none."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from io import BytesIO
from pathlib import Path
from typing import Any

import httpx2
import numpy as np
import psycopg
import pytest
from psycopg.types.json import Jsonb

from services.predictor.api.charts import earlier_wins, recent_settled_events, settled_events_of
from services.predictor.evaluation import charts
from services.predictor.evaluation.live_figures import live_figures
from services.predictor.registry import state_file, states
from services.predictor.registry.states import ChangeRequest
from tests.services.predictor.settled_rows import BLUNT, FIRST, TRUE, settle
from tests.shared.runtime.api.admin_apps import assert_problem

Database = psycopg.Connection[Any]
LIVE, SHADOW = "20310401-00000001", "20310402-00000002"
DAY = FIRST + timedelta(days=2)
A_DAY = 12


@pytest.fixture(autouse=True)
def season(database: Database) -> None:
    """Five days of twelve events, predicted from card and observation by the live model and a shadow."""
    settle(database, {LIVE: TRUE, SHADOW: BLUNT}, days=5, a_day=A_DAY, states=("card", "observation"))
    database.execute("UPDATE facts.predictions SET shadow = false WHERE model_version = %s", (LIVE,))


def go_live(models: Path, version: str) -> None:
    request = ChangeRequest(datetime(2031, 5, 1, tzinfo=UTC), "test")
    state_file.change(models, lambda registry: states.promote(registry, version, request, registry.live))


def predict(
    database: Database,
    number: int,
    p_win: Mapping[int, float],
    minutes: float,
    version: str = LIVE,
    shadow: bool = False,
) -> None:
    """Adds a prediction of an event of DAY, as of some minutes after its start."""
    heads = [{"head": "result", "slot": slot, "label": "win", "probability": each} for slot, each in p_win.items()]
    database.execute(
        "INSERT INTO facts.predictions (record_id, event_id, state, model_version, as_of, shadow, feature_hash,"
        " probabilities) SELECT gen_random_uuid(), id, 'card', %s, scheduled_at + %s, %s, 'g', %s"
        " FROM facts.events WHERE event_key = %s",
        (version, timedelta(minutes=minutes), shadow, Jsonb(heads), f"boatrace:{DAY}:07:{number:02}"),
    )


def test_the_chart_of_a_day_is_a_small_png_of_the_figures_in_the_tables(
    client: httpx2.Client, database: Database
) -> None:
    response = client.get("/charts/day.png", params={"source": "boatrace", "day": str(DAY)})

    events = settled_events_of(database, "boatrace", DAY)
    figures = live_figures(events.predictions, earlier_wins(database, "boatrace", events.starts[0]))
    expected = BytesIO()
    charts.draw_day(expected, figures, f"boatrace, {DAY}")
    assert response.status_code == 200
    assert response.headers["content-type"] == "image/png"
    assert response.content == expected.getvalue()
    assert response.content.startswith(b"\x89PNG\r\n\x1a\n")
    assert 10_000 < len(response.content) < 200_000


def test_requests_at_the_same_time_get_the_same_chart(client: httpx2.Client) -> None:
    def get(_: int) -> bytes:
        return client.get("/charts/day.png", params={"source": "boatrace", "day": str(DAY)}).raise_for_status().content

    with ThreadPoolExecutor(4) as pool:
        assert len(set(pool.map(get, range(4)))) == 1


def test_the_losses_of_a_day_are_those_of_the_scores_view(database: Database) -> None:
    events = settled_events_of(database, "boatrace", DAY)
    wins = earlier_wins(database, "boatrace", events.starts[0])

    figures = live_figures(events.predictions, wins)

    rows = database.execute(
        "SELECT log_loss FROM analytics.prediction_scores WHERE model_version = %s AND state = 'observation'"
        " AND starts_with(event_key, %s) ORDER BY event_key",
        (LIVE, f"boatrace:{DAY}:"),
    ).fetchall()
    assert len(figures) == A_DAY
    assert figures.loss == pytest.approx([loss for (loss,) in rows])
    assert figures.models == (LIVE,)
    assert sum(wins.values()) == 2 * A_DAY  # of the two days before
    winners = figures.winner + 1
    assert figures.base_loss == pytest.approx(
        [-np.log((wins[int(each)] + 1) / (sum(wins.values()) + 3)) for each in winners]
    )


def test_the_last_live_prediction_before_the_start_counts(database: Database) -> None:
    successor = "20310501-00000003"
    predict(database, 1, {1: 0.5, 2: 0.3, 3: 0.2}, minutes=-1)
    predict(database, 2, {1: 0.1, 2: 0.2, 3: 0.7}, minutes=0, version=successor)
    predict(database, 3, {1: 1.0}, minutes=0.1)
    predict(database, 4, {1: 1.0}, minutes=-1, version=SHADOW, shadow=True)
    predict(database, 5, {1: 1.0}, minutes=-1, version=f"{DAY:%Y%m%d}-00000004")

    predictions = settled_events_of(database, "boatrace", DAY).predictions

    assert len(predictions) == A_DAY
    assert predictions[0].p_win == {1: 0.5, 2: 0.3, 3: 0.2}
    assert (predictions[1].model_version, predictions[1].p_win[3]) == (successor, 0.7)
    assert all(len(each.p_win) == 3 and each.model_version == LIVE for each in predictions[2:])


def test_an_observation_counts_before_a_card_of_the_same_time(database: Database) -> None:
    database.execute("UPDATE facts.predictions SET probabilities = '[]' WHERE state = 'observation'")

    assert len(settled_events_of(database, "boatrace", DAY).predictions) == A_DAY  # of the cards
    heads = Jsonb([{"head": "result", "slot": 1, "label": "win", "probability": 0.25}])
    database.execute("UPDATE facts.predictions SET probabilities = %s WHERE state = 'observation'", (heads,))
    assert {each.p_win[1] for each in settled_events_of(database, "boatrace", DAY).predictions} == {0.25}


def test_only_settled_events_with_one_winner_of_that_source_and_day_count(database: Database) -> None:
    key = "SELECT id FROM facts.events WHERE event_key = %s"
    database.execute(
        f"INSERT INTO facts.outcomes (event_id, slot, place) SELECT ({key}), 6, 1", (f"boatrace:{DAY}:07:01",)
    )
    database.execute("UPDATE facts.events SET status = 'observed' WHERE event_key = %s", (f"boatrace:{DAY}:07:02",))

    events = settled_events_of(database, "boatrace", DAY)

    assert len(events.starts) == len(events.predictions) == A_DAY - 2
    assert {each.session_key for each in events.predictions} == {f"boatrace:{DAY}:07"}
    assert settled_events_of(database, "boat", DAY).starts == []


def test_the_calibration_is_that_of_the_live_model_also_as_a_shadow(
    client: httpx2.Client, database: Database, models: Path
) -> None:
    go_live(models, SHADOW)

    response = client.get("/charts/calibration.png", params={"days": 2})

    events = recent_settled_events(database, SHADOW, 2)
    figures = live_figures(events.predictions, {})
    expected = BytesIO()
    first, last = FIRST + timedelta(days=2), FIRST + timedelta(days=4)
    title = f"P(win) of model {SHADOW}\n{first} to {last}"
    charts.draw_reliability(expected, figures.win, figures.occupied, figures.winner, title)
    assert response.content == expected.getvalue()
    assert len(response.content) < 200_000
    assert figures.models == (SHADOW,)
    assert len(figures) == 2 * A_DAY + 1  # to the minute: the last event of the third day from the end
    assert len(recent_settled_events(database, SHADOW, 30).predictions) == 5 * A_DAY


def test_the_newest_events_are_taken_if_there_are_too_many(database: Database) -> None:
    starts = recent_settled_events(database, LIVE, 30, most=10).starts

    assert len(starts) == 10
    assert starts == sorted(starts)
    assert starts == recent_settled_events(database, LIVE, 30).starts[-10:]


def test_days_that_the_model_was_trained_on_do_not_count(database: Database) -> None:
    trained = f"{DAY:%Y%m%d}-00000004"
    database.execute("UPDATE facts.predictions SET model_version = %s WHERE model_version = %s", (trained, LIVE))

    events = recent_settled_events(database, trained, 30)

    assert len(events.starts) == 5 * A_DAY
    assert {each.session_key.split(":")[1] for each in events.predictions} == {
        str(DAY + timedelta(days=after)) for after in (1, 2)
    }


def test_a_chart_of_nothing_is_not_found_and_says_why(client: httpx2.Client, database: Database, models: Path) -> None:
    def reason(path: str, **parameters: str | int) -> str:
        return assert_problem(client.get(f"/charts/{path}.png", params=parameters), 404, "not-found")

    assert "no event of boatrace on 2031-04-30 has settled" in reason("day", source="boatrace", day="2031-04-30")
    assert f"no event of other on {DAY} has settled" in reason("day", source="other", day=str(DAY))
    assert "no model is live" in reason("calibration")

    database.execute("UPDATE facts.predictions SET as_of = as_of + interval '1 hour'")
    go_live(models, LIVE)
    too_late = reason("day", source="boatrace", day=str(DAY))
    assert f"{A_DAY} events of boatrace on {DAY} have settled, but none has a prediction by a live model" in too_late
    assert "60 events of the last 30 days have settled, but none has a prediction" in reason("calibration")
    database.execute("UPDATE facts.events SET status = 'listed'")
    assert "no event of the last 30 days has settled" in reason("calibration")


@pytest.mark.parametrize(
    ("path", "parameters"),
    [
        ("day", {"source": "boatrace"}),
        ("day", {"day": "2031-05-03"}),
        ("day", {"source": "boatrace", "day": "2031-02-30"}),
        ("day", {"source": "boatrace", "day": "9999-12-31"}),
        ("day", {"source": "Boat%", "day": "2031-05-03"}),
        ("day", {"source": "boatrace", "day": "2031-05-03", "model": "x"}),
        ("calibration", {"days": "0"}),
        ("calibration", {"days": "91"}),
    ],
)
def test_invalid_parameters_are_refused(client: httpx2.Client, path: str, parameters: dict[str, str]) -> None:
    assert_problem(client.get(f"/charts/{path}.png", params=parameters), 422, "invalid-input")


def test_the_service_starts_without_matplotlib(repository: Path) -> None:
    program = "import sys, services.predictor.__main__; sys.exit('matplotlib' in sys.modules)"

    assert subprocess.run([sys.executable, "-c", program], cwd=repository, check=False).returncode == 0


def test_a_day_of_any_time_zone_lies_within_the_bounds_of_the_query(database: Database) -> None:
    for hours in (-14, 36):
        database.execute(
            "UPDATE facts.events SET scheduled_at = %s WHERE event_key = %s",
            (datetime.combine(DAY, datetime.min.time(), UTC) + timedelta(hours=hours), f"boatrace:{DAY}:07:01"),
        )
        assert len(settled_events_of(database, "boatrace", DAY).starts) == A_DAY
