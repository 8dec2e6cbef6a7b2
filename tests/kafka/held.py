"""A Kafka that is not ready until the test says so: as a slow machine has it, for as long as the test needs."""

from __future__ import annotations

from contextlib import closing

from kafka import KafkaAdminClient

from tests.kafka.server import STOCK, KafkaServer

# More copies than there are nodes: the broker cannot make these topics, and says at each request that it is not ready.
HELD = STOCK | {"offsets.topic.replication.factor": 3, "transaction.state.log.replication.factor": 3}
# The broker's defaults; it looks for a group or a transaction in the partition that these numbers give.
_PARTITIONS = 50
_INTERNAL = ("__consumer_offsets", "__transaction_state")


def release(server: KafkaServer) -> None:
    """Make what the broker waits for; it is ready some moments later."""
    topic = {"num_partitions": _PARTITIONS, "replication_factor": 1, "configs": {"cleanup.policy": "compact"}}
    with closing(KafkaAdminClient(bootstrap_servers=server.bootstrap)) as admin:
        admin.create_topics(dict.fromkeys(_INTERNAL, topic))
