from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest

from headrace.run.as_of import require_as_of
from services.loader.load import Loader
from shared.errors import ConfigError
from shared.runtime.metrics import Metrics
from tests.services.loader.facts import StillClock, listed, received

THEN = datetime(2031, 5, 6, 3, tzinfo=UTC)


def test_a_fresh_database_keeps_its_instant(database: psycopg.Connection[Any]) -> None:
    require_as_of(database, THEN)
    require_as_of(database, THEN.astimezone())

    for other in (None, THEN + timedelta(seconds=1)):
        with pytest.raises(ConfigError, match="what was known at 2031-05-06T03:00:00"):
            require_as_of(database, other)


def test_a_database_in_use_cannot_travel(database: psycopg.Connection[Any]) -> None:
    with database.transaction():
        Loader(StillClock(), Metrics()).handle([received(listed())], database)

    require_as_of(database, None)
    with pytest.raises(ConfigError, match="in use already"):
        require_as_of(database, THEN)
