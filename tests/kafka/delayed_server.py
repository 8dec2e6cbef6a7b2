"""A Kafka that is not ready until the test releases it, as on a slow machine."""

from __future__ import annotations

from contextlib import closing

from kafka import KafkaAdminClient

from tests.kafka.server import STOCK, KafkaServer

# More replicas than nodes: the broker cannot create these topics and replies to each request that it is not ready.
HELD = STOCK | {"offsets.topic.replication.factor": 3, "transaction.state.log.replication.factor": 3}
# The defaults of the broker, which computes the partition of a group or transaction from them.
_PARTITIONS = 50
_INTERNAL = ("__consumer_offsets", "__transaction_state")


def release(server: KafkaServer) -> None:
    """Create the topics that the broker waits for; it is ready shortly after."""
    topic = {"num_partitions": _PARTITIONS, "replication_factor": 1, "configs": {"cleanup.policy": "compact"}}
    with closing(KafkaAdminClient(bootstrap_servers=server.bootstrap)) as admin:
        admin.create_topics(dict.fromkeys(_INTERNAL, topic))
