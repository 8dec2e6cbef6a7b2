"""The admin app of the cleaner on a new database, with the role of the cleaner."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest

from headrace.database.embedded import EmbeddedPostgres
from services.cleaner.settings import CleanerSettings
from tests.shared.runtime.api.admin_apps import as_role, cleaner_settings, serve_admin_app, write_token_file


@pytest.fixture
def settings(postgres: EmbeddedPostgres, database_url: str, tmp_path: Path) -> CleanerSettings:
    return cleaner_settings(as_role(postgres, database_url, "headrace_cleaner"), write_token_file(tmp_path))


@pytest.fixture
def client(settings: CleanerSettings) -> Iterator[httpx2.Client]:
    with serve_admin_app(settings) as client:
        yield client
