"""The predictor's endpoints, served over real HTTP under the service's own database role."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import psycopg
import pytest

from headrace.database.embedded import EmbeddedPostgres
from services.predictor.api.router import router
from services.predictor.settings import PredictorSettings
from tests.services.endpoints import served, settings_of

Database = psycopg.Connection[Any]


@pytest.fixture
def settings(postgres: EmbeddedPostgres, shared_url: str, database: Database, tmp_path: Path) -> PredictorSettings:
    return settings_of(PredictorSettings, postgres, shared_url, tmp_path)


@pytest.fixture
def models(settings: PredictorSettings) -> Path:
    return settings.models_dir


@pytest.fixture
def client(settings: PredictorSettings, models: Path) -> Iterator[httpx2.Client]:
    with served(settings, lambda context: router(context, models)) as client:
        yield client
