"""Transactions whose marker never reached a partition, on a real cluster: they are completed with their outcome.

A coordinator skips the marker of a partition that has no leader at that moment. Here two nodes make it happen each
time: the coordinator of transactions is on the first, and the second, which has the partitions, is stopped between the
last record and the end of the transaction. A stop is slow, so the transactions of all tests end in the same one.
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
from shared.topics import TopicSpec, dead_letter_topic
from tests.contract.records import poll_some, read_all, values
from tests.kafka.jars import KafkaMissingError
from tests.kafka.server import FAST_START, KafkaServer, SecureListeners
from tests.waiting import DEADLINE_S, wait_until

# The library leaves refused sockets open.
pytestmark = [
    pytest.mark.slow, pytest.mark.kafka, pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning"),
]  # fmt: skip

USER, PASSWORD, MECHANISM = "predictor", "made-up-password", "SCRAM-SHA-512"


class Cluster(NamedTuple):
    first: KafkaServer
    second: KafkaServer

    @contextmanager
    def admin(self) -> Iterator[KafkaAdminClient]:
        with closing(KafkaAdminClient(bootstrap_servers=self.first.bootstrap)) as admin:
            yield admin

    def nodes(self) -> int:
        with self.admin() as admin:
            return len(admin.describe_cluster()["brokers"])

    def has_leader(self, topic: str) -> bool:
        with self.admin() as admin:
            return any(each["leader_id"] >= 0 for each in admin.describe_topics([topic])[0]["partitions"])

    def create_topics(self, nodes: dict[str, int], *, compacted: bool = False) -> None:
        """Topics of one partition on the given nodes."""
        configs = {"cleanup.policy": "compact"} if compacted else {}
        topics = {name: {"assignments": {0: [node]}, "configs": configs} for name, node in nodes.items()}
        with self.admin() as admin:
            admin.create_topics(topics)
            admin.wait_for_topics(list(nodes))


class Place:
    """An environment with a topic on each node, a compacted one on the second, and a producer in a transaction."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self.environment = uuid4().hex
        self.kept, self.lost, self.cursors = (f"{name}-{self.environment}" for name in ("kept", "lost", "cursors"))
        cluster.create_topics({self.kept: 1, self.lost: 2})
        cluster.create_topics({self.cursors: 2}, compacted=True)
        self.group, self.transactional_id = f"{self.environment}.predictor", f"{self.environment}.predictor-0"
        with closing(KafkaProducer(bootstrap_servers=cluster.first.bootstrap)) as plain:
            for value in (b"a", b"b", b"c"):
                plain.send(self.kept, value, partition=0).get(DEADLINE_S)
        self.producer = self.begin()

    def begin(self) -> KafkaProducer:
        producer = KafkaProducer(
            bootstrap_servers=self.cluster.first.bootstrap, transactional_id=self.transactional_id,
            kafka_client=SafeClient, retry_backoff_ms=20,
        )  # fmt: skip
        producer.init_transactions()
        producer.begin_transaction()
        return producer

    def write(self) -> None:
        """To both topics of the second node, and the offset 2 of the first topic."""
        self.producer.send(self.lost, b"unmarked", partition=0).get(DEADLINE_S)
        self.producer.send(self.cursors, b"at the 7th", b"shard", partition=0).get(DEADLINE_S)
        offsets = {ClientPartition(self.kept, 0): OffsetAndMetadata(2, "", -1)}
        self.producer.send_offsets_to_transaction(offsets, ConsumerGroupMetadata(self.group, -1, "", None))

    def end(self, *, commits: bool) -> None:
        """Returns when the coordinator has nothing left to do."""
        with closing(self.producer):
            (self.producer.commit_transaction if commits else self.producer.abort_transaction)()
        with self.cluster.admin() as admin:
            wait_until(lambda: self.state(admin) == ("CompleteCommit" if commits else "CompleteAbort"))

    def state(self, admin: KafkaAdminClient) -> str:
        return str(admin.describe_transactions([self.transactional_id])[self.transactional_id].state.value)

    @contextmanager
    def broker(self, conninfo: str, **login: Any) -> Iterator[KafkaBroker]:
        settings = KafkaSettings(environment=self.environment, session_timeout_s=10.0, **login)
        address = f"127.0.0.1:{self.cluster.first.ports['USERS']}" if login else self.cluster.first.bootstrap
        with closing(KafkaBroker(f"kafka://{address}", settings, conninfo)) as broker:
            broker.ensure_topics([TopicSpec(name, 1, None) for name in (self.kept, self.lost)])
            yield broker
        gc.collect()

    def has_stable_offset(self) -> bool:
        settings = {"bootstrap_servers": self.cluster.first.bootstrap, "isolation_level": "read_committed"}
        with closing(KafkaConsumer(**settings, group_id=self.group, enable_auto_commit=False)) as consumer:
            try:
                consumer.committed(ClientPartition(self.kept, 0), timeout_ms=5000)
            except errors.KafkaTimeoutError:
                return False
        return True


PLACES = ("committed", "aborted", "used later", "foreign", "without rights")


@pytest.fixture(scope="module")
def places(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Place]]:
    """After the restart of the second node, which has none of the markers."""
    with running_cluster(tmp_path_factory) as cluster:
        made = {name: Place(cluster) for name in PLACES}
        for place in made.values():
            place.write()
        cluster.second.stop()
        wait_until(lambda: not cluster.has_leader("__consumer_offsets"))
        for name, place in made.items():
            place.end(commits=name != "aborted")
        cluster.second.start()
        assert not made["committed"].has_stable_offset()
        yield made


@contextmanager
def running_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
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
    folders = [tmp_path_factory.mktemp(name) for name in ("first", "second")]
    try:
        first = KafkaServer(folders[0], secure=listeners, settings=settings)
        second = KafkaServer(folders[1], secure=listeners._replace(scram=()), settings=settings, joins=first)
    except KafkaMissingError as missing:
        pytest.skip(str(missing))
    cluster = Cluster(first, second)
    try:
        first.start()
        second.start()
        wait_until(lambda: cluster.nodes() == 2, "two nodes")
        cluster.create_topics({"__transaction_state": 1, "__consumer_offsets": 2}, compacted=True)
        yield cluster
    finally:
        second.kill()
        first.kill()


def position(broker: KafkaBroker, topic: str) -> int:
    """Of the predictor, once it can be read."""
    tp = TopicPartition(topic, 0)
    with closing(broker.consumer("predictor", [topic], "predictor-0")) as consumer:

        def is_owned() -> bool:
            consumer.poll(0.1, 1)
            return tp in consumer.assignment()

        wait_until(is_owned, "the position", forgive=TransientError)
        consumer.reload()
        return consumer.position(tp)


@pytest.mark.parametrize(("name", "expected"), [("committed", 2), ("aborted", 0)])
def test_offsets_without_a_marker_get_it(places: dict[str, Place], database_url: str, name: str, expected: int) -> None:
    place = places[name]
    with place.broker(database_url) as broker:
        assert position(broker, place.kept) == expected
    assert place.has_stable_offset()


def test_the_outcome_is_not_that_of_a_later_transaction(places: dict[str, Place], database_url: str) -> None:
    place = places["used later"]
    place.producer = place.begin()
    place.producer.send(place.kept, b"later", partition=0).get(DEADLINE_S)
    place.end(commits=False)

    with place.broker(database_url) as broker:
        assert position(broker, place.kept) == 2


@pytest.mark.parametrize(("name", "expected"), [("committed", ["unmarked", "later"]), ("aborted", ["later"])])
def test_a_topic_without_a_marker_is_read_on(
    places: dict[str, Place], database_url: str, name: str, expected: list[str]
) -> None:
    place = places[name]
    with place.broker(database_url) as broker:
        (tp,) = broker.partitions(place.lost)
        fill_without_transaction(place, "later")
        assert broker.end_offsets([tp]) == {tp: 0}

        with closing(broker.consumer("loader", [place.lost], "loader-0")) as consumer:
            assert values(poll_some(consumer).records) == expected

        assert values(read_all(broker, place.lost)) == expected


def fill_without_transaction(place: Place, value: str) -> None:
    with closing(KafkaProducer(bootstrap_servers=place.cluster.first.bootstrap)) as plain:
        plain.send(place.lost, value.encode(), partition=0).get(DEADLINE_S)


@pytest.mark.parametrize(("name", "expected"), [("committed", {"shard": b"at the 7th"}), ("aborted", {})])
def test_cursors_without_a_marker_are_complete(
    places: dict[str, Place], database_url: str, name: str, expected: dict[str, bytes]
) -> None:
    with places[name].broker(database_url) as broker:
        assert broker.cursors(places[name].cursors) == expected


def test_an_open_transaction_is_left_alone(places: dict[str, Place], database_url: str) -> None:
    place = Place(places["committed"].cluster)
    place.write()
    with place.broker(database_url) as broker:
        tps = [TopicPartition(place.lost, 0)]

        (blocked,) = broker._hanging.repair(tps)

        assert blocked.is_active
        assert f"transaction '{place.transactional_id}' is open in {place.lost}/0 since offset 0" in blocked.cause
        assert "Ongoing" in blocked.cause
        assert broker.end_offsets(tps) == {tps[0]: 0}
        place.end(commits=False)
        wait_until(lambda: broker.end_offsets(tps) == {tps[0]: 2})
        assert read_all(broker, place.lost) == []
        assert broker._hanging.repair(tps) == []


def test_a_transaction_of_another_program_is_left_alone(places: dict[str, Place], database_url: str) -> None:
    place = places["foreign"]
    tp = TopicPartition(place.lost, 0)
    with Place(place.cluster).broker(database_url) as broker:
        (blocked,) = broker._hanging.repair([tp])

    assert not blocked.is_active
    assert "belongs to another program" in blocked.cause
    assert (
        f"`kafka-transactions.sh --bootstrap-server {place.cluster.first.bootstrap} abort --topic {place.lost}"
        " --partition 0 --start-offset 0`" in blocked.cause
    )
    assert not place.has_stable_offset()


def test_a_service_without_the_right_says_so_and_continues_when_it_has_it(
    places: dict[str, Place], database_url: str, tmp_path: Path
) -> None:
    place = places["without rights"]
    place.cluster.create_topics({dead_letter_topic("predictor"): 1})  # the values are not events
    (tmp_path / "password").write_text(PASSWORD)
    login = {"username": USER, "password_file": tmp_path / "password", "mechanism": MECHANISM}
    with right(place.cluster, ACLOperation.DESCRIBE), place.broker(database_url, **login) as broker:
        loop = ConsumerLoop(
            broker, service="predictor", slot="0", reads=[place.kept], metrics=Metrics(),
            handler=InUnit(lambda _: []),
        )  # fmt: skip
        try:
            run_until(loop, lambda: "are not stable" in loop.trouble)
            assert loop.state == "backing off"
            for words in (
                f"transaction '{place.transactional_id}' is open in __consumer_offsets/0 since offset ",
                "writing the missing marker (it was committed): Kafka refuses: ",
                "ClusterAuthorizationFailed",
                f"--allow-principal User:{USER} --operation ClusterAction --cluster`",
            ):
                assert words in loop.trouble

            with right(place.cluster, ACLOperation.CLUSTER_ACTION):
                run_until(loop, lambda: loop.state == "running")
        finally:
            loop.stop()
            loop.run()
    assert place.has_stable_offset()


def run_until(loop: ConsumerLoop, condition: Callable[[], bool]) -> None:
    def is_reached() -> bool:
        loop._run_step()
        return condition()

    wait_until(is_reached)


@contextmanager
def right(cluster: Cluster, operation: ACLOperation) -> Iterator[None]:
    """A right of the user on the cluster. While there is one, all others are refused."""
    acl = ACL(
        principal=f"User:{USER}", host="*", operation=operation, permission_type=ACLPermissionType.ALLOW,
        resource_pattern=ResourcePattern(ResourceType.CLUSTER, "kafka-cluster"),
    )  # fmt: skip
    with cluster.admin() as admin:
        assert admin.create_acls([acl])["failed"] == []
        yield
        admin.delete_acls([acl])
