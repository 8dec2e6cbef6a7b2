"""Fixtures of the tests of the log and of the loops."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from headrace.database.embedded import EmbeddedPostgres
from tests.contract.database import empty_log


@pytest.fixture
def url(postgres: EmbeddedPostgres) -> Iterator[str]:
    """The URL of a database with an empty log and no other sessions."""
    with empty_log(postgres) as url:
        yield url
