"""Frames of recorded days have the rows of `headrace sql`, in every view."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

import numpy as np
import psycopg
import pytest

from headrace.database.embedded import EmbeddedPostgres
from headrace.frames import Headrace, connect
from headrace.frames.catalogue import VIEWS
from tests.headrace.frames.conftest import sql_of
from tests.headrace.frames.rows import STORED, frame_of, rows_of, statement_for
from tests.services.loader.conftest import own_database
from tests.services.loader.test_recorded_day import DAY, final_documents, live_documents, load

pytestmark = pytest.mark.recorded
PREDICTIONS = """
INSERT INTO facts.predictions (record_id, event_id, state, model_version, as_of, shadow, feature_hash, probabilities)
SELECT gen_random_uuid(), e.id, 'card', 'm1', e.scheduled_at, false, 'h', jsonb_agg(jsonb_build_object(
    'head', 'result', 'slot', t.slot, 'label', 'win', 'probability', random()) ORDER BY t.slot)
FROM facts.events e JOIN facts.entries t ON t.event_id = e.id GROUP BY e.id
"""


@pytest.fixture(scope="module")
def recorded_url(postgres: EmbeddedPostgres) -> Iterator[str]:
    """All versions of one day and the final files of the day before, with made-up predictions."""
    with own_database(postgres) as url:
        with psycopg.connect(url) as connection:
            load(connection, final_documents(DAY - timedelta(days=1)))
            load(connection, live_documents())
            connection.execute(PREDICTIONS.encode())
        yield url


@pytest.fixture(scope="module")
def recorded(recorded_url: str) -> Iterator[Headrace]:
    with connect(recorded_url) as client:
        yield client


@pytest.mark.parametrize("name", STORED)
def test_a_frame_has_the_rows_of_headrace_sql(
    recorded: Headrace, recorded_url: str, name: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    frame = frame_of(recorded, name)

    assert rows_of(frame) == sql_of(recorded_url, monkeypatch, capfd)(statement_for(VIEWS[name]))
    frame.headrace.validate()


@pytest.mark.parametrize("scope", ["slot", "venue"])
def test_returns_equal_the_return_rates(recorded: Headrace, scope: str) -> None:
    rates = recorded.return_rates(scope=scope, market="win")

    table = recorded.results().headrace.returns(by=scope, market="win")

    expected = sorted((int(row["key"]), row["bets"], row["rate"]) for row in rates.to_dict("records"))
    assert table[[scope, "bets", "return"]].to_numpy(float) == pytest.approx(np.array(expected, dtype=float))
