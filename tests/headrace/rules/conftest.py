"""The log of the test's database."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from shared.broker.postgres.broker import PostgresBroker
from shared.topics import topic_specs


@pytest.fixture
def broker(database_url: str) -> Iterator[PostgresBroker]:
    broker = PostgresBroker(database_url)
    broker.ensure_topics(topic_specs(partitions=1))
    yield broker
    broker.close()
