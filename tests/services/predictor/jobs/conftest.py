"""A role of the predictor and an empty models directory."""

from __future__ import annotations

from pathlib import Path

import pytest

from headrace.database.embedded import EmbeddedPostgres
from tests.services.predictor.jobs.operations import Database
from tests.shared.runtime.api.admin_apps import as_role


@pytest.fixture
def conninfo(postgres: EmbeddedPostgres, shared_url: str, database: Database) -> str:
    """Connects to `database` under the service's own role."""
    return as_role(postgres, shared_url, "headrace_predictor").conninfo()


@pytest.fixture
def models(tmp_path: Path) -> Path:
    return tmp_path / "models"
