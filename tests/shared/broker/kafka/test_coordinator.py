"""Committed positions of a group after a change of its coordinator."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, suppress
from uuid import uuid4

import pytest

from shared.broker.kafka.broker import KafkaBroker
from shared.errors import TransientError
from shared.settings.sections import KafkaSettings
from shared.topics import TopicSpec
from tests.kafka.use import KafkaInUse

pytestmark = pytest.mark.slow

TOPIC = "moved"


@pytest.fixture
def broker(kafka: KafkaInUse, database_url: str) -> Iterator[KafkaBroker]:
    settings = KafkaSettings(environment=uuid4().hex)
    with kafka.empty(), closing(KafkaBroker(f"kafka://{kafka.bootstrap}", settings, database_url)) as broker:
        broker.ensure_topics([TopicSpec(TOPIC, 1, None)])
        yield broker


def test_a_stale_coordinator_is_looked_up_again(broker: KafkaBroker) -> None:
    before = broker.group_offsets("cleaner", [TOPIC])
    coordinators = broker._admin._manager.cluster._coordinators
    coordinators.update(dict.fromkeys(coordinators, 99))  # as after a move: a node that is not the coordinator

    with suppress(TransientError):
        broker.group_offsets("cleaner", [TOPIC])

    assert broker.group_offsets("cleaner", [TOPIC]) == before
