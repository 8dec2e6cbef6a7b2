"""`headrace train` on facts in a database."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from pathlib import Path

import psycopg
import pytest

from headrace.database.embedded import EmbeddedPostgres
from services.predictor.learners.processes import process_executor
from services.predictor.registry import model_files, state_file
from services.predictor.training.candidate import registry_of, train
from services.predictor.training.request import TrainingContext, TrainingRequest
from shared.errors import ConfigError
from tests.services.predictor.quick_trainings import discard_log
from tests.services.predictor.season import FIRST, season, store
from tests.services.predictor.shared_database import database_of

pytestmark = pytest.mark.slow
DAYS, A_DAY = 13, 12


@pytest.fixture(scope="module")
def database_url(postgres: EmbeddedPostgres) -> Iterator[str]:
    with database_of(postgres) as url:
        with psycopg.connect(url, autocommit=True) as connection:
            store(connection, season(DAYS, A_DAY, seed=2, entities=30))
        yield url


def test_a_candidate_with_its_pictures_is_saved(database_url: str, tmp_path: Path) -> None:
    log_lines: list[str] = []
    progress: list[float] = []

    request = TrainingRequest(seed=1, until=date(2030, 3, 12), validate_days=2)
    report = train(
        database_url, tmp_path, request, TrainingContext(log_lines.append, progress.append, process_executor(1))
    )

    version = report["version"]
    model = registry_of(tmp_path).load(version)
    assert state_file.read(tmp_path).state_of(version) == "candidate"
    assert registry_of(tmp_path).live() is None
    assert sorted(model_files.pictures(tmp_path, version)) == ["learning-network", "learning-trees", "reliability"]
    assert report["metrics"] == model.description.metrics
    assert report["metrics"]["observation_result"] < report["metrics"]["observation_result_base"]
    assert (report["first_day"], report["last_day"], report["events"]) == (str(FIRST), "2030-03-12", 10 * A_DAY)
    assert report["parameters"] > 1000
    assert progress[-1] == 1.0
    assert any(version in line for line in log_lines)


def test_too_little_history_is_refused_and_nothing_is_written(database_url: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"at least 100 settled events .* found 36 and 12"):
        train(database_url, tmp_path, TrainingRequest(until=date(2030, 3, 4)), TrainingContext(discard_log))

    assert not list(tmp_path.iterdir())


def test_no_history_at_all_is_refused(database_url: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no settled event to learn from"):
        train(database_url, tmp_path, TrainingRequest(until=date(2029, 1, 1)), TrainingContext(discard_log))

    assert not list(tmp_path.iterdir())
