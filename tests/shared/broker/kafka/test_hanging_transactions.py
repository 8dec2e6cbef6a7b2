"""Transactions whose marker never reached a partition, on a real cluster: they are completed with their outcome.

A coordinator skips the marker of a partition that has no leader at that moment. Here two nodes make it happen each
time: the coordinator of transactions is on the first, and the second, which has the partitions, is stopped between the
last record and the commit.
"""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, NamedTuple
from uuid import uuid4

import pytest
from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer, OffsetAndMetadata, errors
from kafka import TopicPartition as ClientPartition
from kafka.admin import ACL, ACLOperation, ACLPermissionType, ResourcePattern, ResourceType
from kafka.structs import ConsumerGroupMetadata

from shared.broker.contract import TopicPartition
from shared.broker.kafka.broker import KafkaBroker
from shared.broker.kafka.workarounds import SafeClient
from shared.errors import TransientError
from shared.runtime.loops.consumer import ConsumerLoop
from shared.runtime.loops.handler import InUnit
from shared.runtime.metrics import Metrics
from shared.settings.sections import KafkaSettings
from shared.topics import TopicSpec
from tests.contract.records import fill, poll_some, read_all, values
from tests.kafka.jars import KafkaMissingError
from tests.kafka.server import FAST_START, KafkaServer, SecureListeners
from tests.waiting import wait_until

# The library leaves refused sockets open.
pytestmark = [
    pytest.mark.slow, pytest.mark.kafka, pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning"),
]  # fmt: skip

USER, PASSWORD, MECHANISM = "predictor", "made-up-password", "SCRAM-SHA-512"
CLUSTER = ResourcePattern(ResourceType.CLUSTER, "kafka-cluster")


class Cluster(NamedTuple):
    first: KafkaServer
    second: KafkaServer

    @contextmanager
    def without_second(self) -> Iterator[None]:
        """Its partitions have no leader in the block."""
        self.second.stop()
        with self.admin() as admin:
            wait_until(lambda: not _has_leader(admin, "__consumer_offsets"))
            yield
        self.second.start()

    @contextmanager
    def admin(self) -> Iterator[KafkaAdminClient]:
        with closing(KafkaAdminClient(bootstrap_servers=self.first.bootstrap)) as admin:
            yield admin


def _has_leader(admin: KafkaAdminClient, topic: str) -> bool:
    return any(each["leader_id"] >= 0 for each in admin.describe_topics([topic])[0]["partitions"])


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    settings = FAST_START | {
        "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
        "super.users": "User:ANONYMOUS",  # the listeners without authentication
        "allow.everyone.if.no.acl.found": "true",
        "sasl.enabled.mechanisms": MECHANISM,
        "listener.name.users.scram-sha-512.sasl.jaas.config": (
            "org.apache.kafka.common.security.scram.ScramLoginModule required;"
        ),
    }
    listeners = SecureListeners({"USERS": "SASL_PLAINTEXT"}, {}, [f"{MECHANISM}=[name={USER},password={PASSWORD}]"])
    try:
        first = KafkaServer(tmp_path_factory.mktemp("first"), secure=listeners, settings=settings)
        second = KafkaServer(
            tmp_path_factory.mktemp("second"), secure=listeners._replace(scram=()), settings=settings, joins=first
        )
    except KafkaMissingError as missing:
        pytest.skip(str(missing))
    made = Cluster(first, second)
    try:
        first.start()
        second.start()
        wait_until(lambda: _nodes(made) == 2, "two nodes")
        create_topics(made, {"__transaction_state": 1, "__consumer_offsets": 2}, compacted=True)
        yield made
    finally:
        second.kill()
        first.kill()


def _nodes(cluster: Cluster) -> int:
    with cluster.admin() as admin:
        return len(admin.describe_cluster()["brokers"])


def create_topics(cluster: Cluster, nodes: dict[str, int], *, compacted: bool = False) -> None:
    """Topics of one partition on the given nodes."""
    configs = {"cleanup.policy": "compact"} if compacted else {}
    with cluster.admin() as admin:
        admin.create_topics({name: {"assignments": {0: [node]}, "configs": configs} for name, node in nodes.items()})
        admin.wait_for_topics(list(nodes))


class Place:
    """An environment of its own: a topic on each node, and a broker."""

    def __init__(self, cluster: Cluster, conninfo: str, **login: Any) -> None:
        self.cluster = cluster
        self.environment = uuid4().hex
        self.kept, self.lost = f"kept-{self.environment}", f"lost-{self.environment}"
        create_topics(cluster, {self.kept: 1, self.lost: 2})
        settings = KafkaSettings(environment=self.environment, session_timeout_s=4.0, **login)
        address = f"127.0.0.1:{cluster.first.ports['USERS']}" if login else cluster.first.bootstrap
        self.broker = KafkaBroker(f"kafka://{address}", settings, conninfo)
        self.broker.ensure_topics([TopicSpec(self.kept, 1, None), TopicSpec(self.lost, 1, None)])
        self.group = f"{self.environment}.predictor"

    def transaction(self) -> KafkaProducer:
        """A producer with a transaction that has begun."""
        producer = KafkaProducer(
            bootstrap_servers=self.cluster.first.bootstrap,
            transactional_id=f"{self.environment}.predictor-0",
            kafka_client=SafeClient,
            retry_backoff_ms=20,
        )
        producer.init_transactions()
        producer.begin_transaction()
        return producer

    def advance(self, producer: KafkaProducer, offset: int) -> None:
        offsets = {ClientPartition(self.kept, 0): OffsetAndMetadata(offset, "", -1)}
        producer.send_offsets_to_transaction(offsets, ConsumerGroupMetadata(self.group, -1, "", None))

    def end_without_second(self, producer: KafkaProducer, *, commits: bool) -> None:
        """End its transaction. The marker does not reach the second node."""
        producer.flush(30)
        with self.cluster.without_second():
            (producer.commit_transaction if commits else producer.abort_transaction)()
            expected = "CompleteCommit" if commits else "CompleteAbort"
            with self.cluster.admin() as admin:
                wait_until(lambda: self.state(admin) == expected)

    def state(self, admin: KafkaAdminClient) -> str:
        name = f"{self.environment}.predictor-0"
        return str(admin.describe_transactions([name])[name].state.value)

    def offset_is_stable(self) -> bool:
        settings = {"bootstrap_servers": self.cluster.first.bootstrap, "isolation_level": "read_committed"}
        with closing(KafkaConsumer(**settings, group_id=self.group, enable_auto_commit=False)) as consumer:
            try:
                consumer.committed(ClientPartition(self.kept, 0), timeout_ms=3000)
            except errors.KafkaTimeoutError:
                return False
        return True

    def position(self) -> int:
        """Of the predictor, once it can be read."""
        tp = TopicPartition(self.kept, 0)
        with closing(self.broker.consumer("predictor", [self.kept], "predictor-0")) as consumer:

            def is_owned() -> bool:
                consumer.poll(0.1, 1)
                return tp in consumer.assignment()

            wait_until(is_owned, "the position", forgive=TransientError)
            consumer.reload()
            return consumer.position(tp)

    def committed_end(self) -> int:
        tp = TopicPartition(self.lost, 0)
        return self.broker.end_offsets([tp])[tp]


@pytest.fixture
def make_place(cluster: Cluster, database_url: str) -> Iterator[Callable[..., Place]]:
    places: list[Place] = []

    def make(**login: Any) -> Place:
        places.append(Place(cluster, database_url, **login))
        return places[-1]

    yield make
    for each in places:
        each.broker.close()
    gc.collect()


@pytest.fixture
def place(make_place: Callable[..., Place]) -> Place:
    return make_place()


@pytest.mark.parametrize(("commits", "position"), [(True, 2), (False, 0)])
def test_offsets_without_a_marker_get_it(place: Place, commits: bool, position: int) -> None:
    fill(place.broker, place.kept, ["a", "b", "c"])
    with closing(place.transaction()) as producer:
        place.advance(producer, 2)
        place.end_without_second(producer, commits=commits)
    assert not place.offset_is_stable()

    assert place.position() == position

    assert place.offset_is_stable()


def test_the_outcome_is_that_of_the_transaction_and_not_of_a_later_one(place: Place) -> None:
    fill(place.broker, place.kept, ["a", "b", "c"])
    with closing(place.transaction()) as producer:
        place.advance(producer, 2)
        place.end_without_second(producer, commits=True)
    for _ in range(2):
        with closing(place.transaction()) as producer:
            producer.send(place.kept, b"later", partition=0).get(30)
            producer.abort_transaction()

    assert place.position() == 2


@pytest.mark.parametrize(("commits", "read"), [(True, ["a", "later"]), (False, ["later"])])
def test_a_topic_without_a_marker_is_read_on(place: Place, commits: bool, read: list[str]) -> None:
    with closing(place.transaction()) as producer:
        producer.send(place.lost, b"a", partition=0).get(30)
        place.end_without_second(producer, commits=commits)
    fill(place.broker, place.lost, ["later"])
    assert place.committed_end() == 0

    with closing(place.broker.consumer("loader", [place.lost], "loader-0")) as consumer:
        polled = poll_some(consumer)

    assert values(polled.records) == read
    assert values(read_all(place.broker, place.lost)) == read


def test_cursors_without_a_marker_are_read(cluster: Cluster, place: Place) -> None:
    topic = f"cursors-{place.environment}"
    create_topics(cluster, {topic: 2}, compacted=True)
    with closing(place.transaction()) as producer:
        producer.send(topic, b"at the 7th", b"shard", partition=0).get(30)
        place.end_without_second(producer, commits=True)

    assert place.broker.cursors(topic) == {"shard": b"at the 7th"}


def test_an_open_transaction_is_left_alone(place: Place) -> None:
    tp = TopicPartition(place.lost, 0)
    with closing(place.transaction()) as producer:
        producer.send(place.lost, b"a", partition=0).get(30)

        (blocked,) = place.broker._hanging.repair([tp])

        assert blocked.is_active
        assert "Ongoing" in blocked.cause
        assert f"'{place.environment}.predictor-0'" in blocked.cause
        assert place.committed_end() == 0
        producer.abort_transaction()
    wait_until(lambda: place.committed_end() == 2)
    assert values(read_all(place.broker, place.lost)) == []
    assert place.broker._hanging.repair([tp]) == []


def test_a_transaction_of_another_program_is_left_alone(place: Place, make_place: Callable[..., Place]) -> None:
    other = make_place()
    with closing(other.transaction()) as producer:
        producer.send(place.lost, b"a", partition=0).get(30)
        other.end_without_second(producer, commits=True)

    (blocked,) = place.broker._hanging.repair([TopicPartition(place.lost, 0)])

    assert not blocked.is_active
    assert "belongs to another program" in blocked.cause
    assert (
        f"`kafka-transactions.sh --bootstrap-server {place.cluster.first.bootstrap} abort --topic {place.lost}"
        " --partition 0 --start-offset 0`" in blocked.cause
    )
    assert place.committed_end() == 0


def test_a_service_without_the_right_says_so_and_continues_when_it_has_it(
    cluster: Cluster, make_place: Callable[..., Place], tmp_path: Path
) -> None:
    (tmp_path / "password").write_text(PASSWORD)
    with rights(cluster, ACLOperation.DESCRIBE):
        place = make_place(username=USER, password_file=tmp_path / "password", mechanism=MECHANISM)
        fill(place.broker, place.kept, ["a", "b", "c"])
        with closing(place.transaction()) as producer:
            place.advance(producer, 2)
            place.end_without_second(producer, commits=True)
        loop = ConsumerLoop(
            place.broker,
            service="predictor",
            slot="0",
            reads=[place.kept],
            metrics=Metrics(),
            handler=InUnit(lambda _: []),
        )
        try:
            wait_until(lambda: loop._run_step() or "are not stable" in loop.trouble)
            assert loop.state == "backing off"
            for words in (
                f"transaction '{place.environment}.predictor-0' is open in __consumer_offsets/0 since offset ",
                "writing the missing marker (it was committed): Kafka refuses: ClusterAuthorizationFailedError",
                f"--allow-principal User:{USER} --operation ClusterAction --cluster`",
            ):
                assert words in loop.trouble

            with rights(cluster, ACLOperation.CLUSTER_ACTION):
                wait_until(lambda: loop._run_step() or loop.state == "running")
        finally:
            loop.stop()
            loop.run()
    assert place.position() >= 2


@contextmanager
def rights(cluster: Cluster, operation: ACLOperation) -> Iterator[None]:
    """A right of the user on the cluster. While there is one, all others are refused."""
    acl = ACL(
        principal=f"User:{USER}", host="*", operation=operation, permission_type=ACLPermissionType.ALLOW,
        resource_pattern=CLUSTER,
    )  # fmt: skip
    with cluster.admin() as admin:
        assert admin.create_acls([acl])["failed"] == []
        yield
        admin.delete_acls([acl])
