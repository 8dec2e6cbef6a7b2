"""The traps of kafka-python 3.0.12, each on a real broker: that it is there, and that our way out of it works.

Where a trap is gone one day, its first half fails: then the way out may go too. What is not here: brokers 2.5 and 2.6,
which let a fenced producer go on (they are refused, see test_client.py), and ghosts (test_ghosts.py).
"""

from __future__ import annotations

import gc
import selectors
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from uuid import uuid4

import psutil
import pytest
from kafka import KafkaAdminClient, KafkaConsumer, KafkaProducer, OffsetAndMetadata, TopicPartition, errors
from kafka.structs import ConsumerGroupMetadata

from shared.broker.kafka.workarounds import SafeClient
from tests.contract.kafka_proxy import KafkaProxy
from tests.kafka.use import KafkaInUse
from tests.waiting import DEADLINE_S, wait_until

# How long "for ever" is watched.
EVER_S = 4.0

# The library leaves a socket open that was refused.
pytestmark = [pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning"), pytest.mark.slow]

Trapped = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture(autouse=True)
def swept() -> Iterator[None]:
    """The sockets that the library left open are closed here, and not in a test that does not expect them."""
    yield
    gc.collect()


@pytest.fixture
def topic(kafka: KafkaInUse) -> Iterator[str]:
    """A fresh topic of two partitions."""
    name = f"trap-{uuid4().hex}"
    with closing(KafkaAdminClient(bootstrap_servers=kafka.bootstrap)) as admin:
        admin.create_topics({name: {"num_partitions": 2, "replication_factor": -1}})
        admin.wait_for_topics([name])
    yield name

    def deleted() -> bool:
        with closing(KafkaAdminClient(bootstrap_servers=kafka.bootstrap)) as admin:
            admin.delete_topics([name])
        return True

    # The broker may have been stopped and started by the test: it is not ready at once.
    wait_until(deleted, f"the end of {name}", forgive=errors.KafkaError)


@pytest.fixture
def trapped(repository: Path) -> Iterator[Trapped]:
    """Starts processes of tests/kafka/trapped.py; what is still there at the end is killed."""
    started: list[subprocess.Popen[str]] = []

    def start(*arguments: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "tests.kafka.trapped", *arguments]
        started.append(
            subprocess.Popen(
                command,
                cwd=repository,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                text=True,
                bufsize=1,
            )
        )
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.communicate()


def says(process: subprocess.Popen[str], word: str, within_s: float = DEADLINE_S) -> bool:
    """Whether the process says it in time."""
    assert process.stdout is not None
    deadline = time.monotonic() + within_s
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdout, selectors.EVENT_READ)
        while selector.select(max(0.0, deadline - time.monotonic())):
            line = process.stdout.readline()
            if line.strip() == word:
                return True
            if not line:
                return False
    return False


def transactional(bootstrap: str, name: str = "", **settings: object) -> KafkaProducer:
    producer = KafkaProducer(
        bootstrap_servers=bootstrap,
        transactional_id=name or uuid4().hex,
        kafka_client=SafeClient,
        retry_backoff_ms=10,
        reconnect_backoff_max_ms=200,
        **settings,
    )
    producer.init_transactions()
    return producer


def member(bootstrap: str, topic: str, **settings: object) -> tuple[KafkaConsumer, ConsumerGroupMetadata]:
    """A dynamic member of group `topic` that owns all of the topic, and who it was when it did.

    Joining may hang in the library, most of all between short polls (shared/broker/kafka/consumer.py walks around it):
    the polls are long here, and who does not join is made anew.
    """
    joined: list[KafkaConsumer] = []

    def joins() -> bool:
        consumer = KafkaConsumer(
            topic,
            bootstrap_servers=bootstrap,
            group_id=topic,
            enable_auto_commit=False,
            session_timeout_ms=2000,
            heartbeat_interval_ms=200,
            **settings,
        )
        for _ in range(5):
            consumer.poll(timeout_ms=1000)
            if len(consumer.assignment()) == 2:
                joined.append(consumer)
                return True
        consumer.close()
        return False

    wait_until(joins)
    return joined[0], joined[0].group_metadata()


def committed(bootstrap: str, group: str) -> dict[int, int]:
    """A group's offsets by partition, once no transaction holds them back."""
    with closing(KafkaConsumer(bootstrap_servers=bootstrap, group_id=group, enable_auto_commit=False)) as consumer:
        found = {p: consumer.committed(TopicPartition(group, p)) for p in (0, 1)}
    return {p: offset for p, offset in found.items() if offset is not None}


def read(bootstrap: str, topic: str, end_with: bytes) -> list[bytes]:
    """Committed values up to one that is known to be the last."""
    found: list[bytes] = []
    with closing(
        KafkaConsumer(
            topic, bootstrap_servers=bootstrap, isolation_level="read_committed", auto_offset_reset="earliest"
        )
    ) as consumer:

        def done() -> bool:
            found.extend(record.value for batch in consumer.poll(timeout_ms=100).values() for record in batch)
            return end_with in found

        wait_until(done)
    return found


def offset_of(p: int, topic: str, offset: int) -> dict[TopicPartition, OffsetAndMetadata]:
    return {TopicPartition(topic, p): OffsetAndMetadata(offset, "", -1)}


def test_b1_a_commit_across_a_broker_restart_hangs_only_without_the_safe_client(
    kafka: KafkaInUse, topic: str, trapped: Trapped
) -> None:
    server = kafka.own()
    plain, safe = (trapped("commit", kafka.bootstrap, topic, client) for client in ("plain", "safe"))
    assert says(plain, "begun")
    assert says(safe, "begun")
    server.stop()
    for process in (plain, safe):
        assert process.stdin is not None
        process.stdin.write("commit\n")
    # Both have to meet the broker while it is away: the library tries again within a second.
    assert not says(safe, "committed", within_s=1.5)

    server.start()

    assert says(safe, "committed")
    assert not says(plain, "committed", EVER_S)
    assert plain.poll() is None


def test_b2_a_commit_succeeds_although_a_record_was_lost_so_each_record_is_checked(
    kafka: KafkaInUse, topic: str
) -> None:
    door = kafka.own().doors[1]
    with KafkaProxy(door.advertised, door.port):
        producer = transactional(
            f"127.0.0.1:{door.advertised}", delivery_timeout_ms=5000, request_timeout_ms=2000, linger_ms=0
        )
        producer.begin_transaction()
        producer.send(topic, b"kept", partition=0).get(DEADLINE_S)
    lost = producer.send(topic, b"lost", partition=0)  # nobody listens there now
    wait_until(lambda: bool(lost.is_done))

    with KafkaProxy(door.advertised, door.port), closing(producer):
        producer.commit_transaction()

        producer.begin_transaction()
        producer.send(topic, b"later", partition=0)
        producer.commit_transaction()

    assert read(kafka.bootstrap, topic, b"later") == [b"kept", b"later"]
    assert not lost.succeeded()  # what a unit looks at before it commits


def test_b3_an_expelled_member_is_fenced_only_with_the_group_metadata_of_its_last_poll(
    kafka: KafkaInUse, topic: str
) -> None:
    zombie, then = member(kafka.bootstrap, topic, max_poll_interval_ms=2100)
    with closing(zombie), closing(transactional(kafka.bootstrap)) as producer:
        wait_until(lambda: zombie.group_metadata().generation_id < 0)  # for it does not poll
        successor, _ = member(kafka.bootstrap, topic)
        with closing(successor):
            now = zombie.group_metadata()
            assert (now.generation_id, now.member_id) == (-1, "")
            producer.begin_transaction()
            with pytest.raises(errors.CommitFailedError):
                producer.send_offsets_to_transaction(offset_of(0, topic, 7), then)
            producer.abort_transaction()
    assert committed(kafka.bootstrap, topic) == {}

    with closing(transactional(kafka.bootstrap)) as producer:
        producer.begin_transaction()
        producer.send_offsets_to_transaction(offset_of(0, topic, 7), now)
        producer.commit_transaction()
    assert committed(kafka.bootstrap, topic) == {0: 7}


@pytest.mark.parametrize("rebuilt", [False, True])
def test_b4_offsets_of_a_failed_transaction_are_committed_with_the_next_unless_the_producer_is_new(
    kafka: KafkaInUse, topic: str, rebuilt: bool
) -> None:
    name = uuid4().hex
    consumer, group = member(kafka.bootstrap, topic)
    stale = group._replace(generation_id=group.generation_id + 1)
    with closing(consumer):
        producer = transactional(kafka.bootstrap, name)
        producer.begin_transaction()
        with pytest.raises(errors.CommitFailedError):
            producer.send_offsets_to_transaction(offset_of(0, topic, 99), stale)
        producer.abort_transaction()
        if rebuilt:
            producer.close()
            producer = transactional(kafka.bootstrap, name)

        producer.begin_transaction()
        producer.send_offsets_to_transaction(offset_of(1, topic, 5), group)
        producer.commit_transaction()
        producer.close()

    assert committed(kafka.bootstrap, topic) == ({1: 5} if rebuilt else {0: 99, 1: 5})


def test_b6_a_poll_never_ends_after_the_library_failed_to_decode_a_value_so_we_read_bytes(
    kafka: KafkaInUse, topic: str, trapped: Trapped
) -> None:
    with closing(KafkaProducer(bootstrap_servers=kafka.bootstrap)) as producer:
        producer.send(topic, b"not a number").get(DEADLINE_S)

    taking_bytes = trapped("poll", kafka.bootstrap, topic, "bytes")
    assert says(taking_bytes, "records")
    assert says(taking_bytes, "nothing")

    decoding = trapped("poll", kafka.bootstrap, topic, "int")
    assert says(decoding, "refused")
    process = psutil.Process(decoding.pid)
    began_s = process.cpu_times().user
    wait_until(lambda: process.cpu_times().user - began_s > 1.0, "a second of computing")
    assert not says(decoding, "nothing", 0.0)  # a poll of half a second would have ended
