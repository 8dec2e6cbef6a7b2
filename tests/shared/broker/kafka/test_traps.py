"""The faults of kafka-python 3.0.12 on a real broker: each test shows the fault and that its workaround helps.

Once a fault is fixed, the first half of its test fails; then the workaround can be removed. Not here: brokers that do
not fence producers reliably (they are refused, see test_client.py), and ghosts (test_ghosts.py).
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

from shared.broker.kafka.workarounds import SafeClient, forget_fetched
from tests.contract.kafka_proxy import KafkaProxy
from tests.kafka.use import KafkaInUse
from tests.waiting import DEADLINE_S, wait_until

# A step that takes longer counts as hanging.
HANG_S = 4.0

# The library leaves refused sockets open.
pytestmark = [pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning"), pytest.mark.slow]

StartChild = Callable[..., "subprocess.Popen[str]"]


@pytest.fixture(autouse=True)
def _close_sockets() -> Iterator[None]:
    """Close the sockets that the library left open, so that they cause no warning in a later test."""
    yield
    gc.collect()


@pytest.fixture
def topic(kafka: KafkaInUse) -> Iterator[str]:
    """A new topic with two partitions."""
    name = f"fault-{uuid4().hex}"
    with closing(KafkaAdminClient(bootstrap_servers=kafka.bootstrap)) as admin:
        admin.create_topics({name: {"num_partitions": 2, "replication_factor": -1}})
        admin.wait_for_topics([name])
    yield name

    def deleted() -> bool:
        with closing(KafkaAdminClient(bootstrap_servers=kafka.bootstrap)) as admin:
            admin.delete_topics([name])
        return True

    # After a restart by the test the broker is not ready at once.
    wait_until(deleted, f"the deletion of {name}", forgive=errors.KafkaError)


@pytest.fixture
def start_child(repository: Path) -> Iterator[StartChild]:
    """Starts processes of tests/kafka/client_faults.py; kills those that are left at the end."""
    processes: list[subprocess.Popen[str]] = []

    def start(*arguments: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "tests.kafka.client_faults", *arguments]
        processes.append(
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
        return processes[-1]

    yield start
    for process in processes:
        process.kill()
        process.communicate()


def prints(process: subprocess.Popen[str], word: str, within_s: float = DEADLINE_S) -> bool:
    """Whether the process prints the word in time."""
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
    """A dynamic member of group `topic` that owns all partitions of the topic, and its group metadata.

    Joining may hang in the library, especially between short polls (shared/broker/kafka/consumer.py has a workaround).
    Therefore polls are long here, and a consumer that does not join is replaced.
    """
    members: list[KafkaConsumer] = []

    def join() -> bool:
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
                members.append(consumer)
                return True
        consumer.close()
        return False

    wait_until(join)
    return members[0], members[0].group_metadata()


def committed_offsets(bootstrap: str, group: str) -> dict[int, int]:
    """The committed offsets of a group by partition, once no transaction delays them."""
    with closing(KafkaConsumer(bootstrap_servers=bootstrap, group_id=group, enable_auto_commit=False)) as consumer:
        offsets = {p: consumer.committed(TopicPartition(group, p)) for p in (0, 1)}
    return {p: offset for p, offset in offsets.items() if offset is not None}


def read(bootstrap: str, topic: str, end_with: bytes) -> list[bytes]:
    """Committed values up to `end_with`, which must be the last one."""
    values: list[bytes] = []
    with closing(
        KafkaConsumer(
            topic, bootstrap_servers=bootstrap, isolation_level="read_committed", auto_offset_reset="earliest"
        )
    ) as consumer:

        def has_end() -> bool:
            values.extend(record.value for batch in consumer.poll(timeout_ms=100).values() for record in batch)
            return end_with in values

        wait_until(has_end)
    return values


def offset_of(p: int, topic: str, offset: int) -> dict[TopicPartition, OffsetAndMetadata]:
    return {TopicPartition(topic, p): OffsetAndMetadata(offset, "", -1)}


def test_b1_a_commit_across_a_broker_restart_hangs_only_without_the_safe_client(
    kafka: KafkaInUse, topic: str, start_child: StartChild
) -> None:
    server = kafka.require_own()
    plain, safe = (start_child("commit", kafka.bootstrap, topic, client) for client in ("plain", "safe"))
    assert prints(plain, "begun")
    assert prints(safe, "begun")
    server.stop()
    for process in (plain, safe):
        assert process.stdin is not None
        process.stdin.write("commit\n")
    # Both must notice that the broker is down: the library retries within a second.
    assert not prints(safe, "committed", within_s=1.5)

    server.start()

    assert prints(safe, "committed")
    assert not prints(plain, "committed", HANG_S)
    assert plain.poll() is None


def test_b2_a_commit_succeeds_although_a_record_was_lost_so_each_record_is_checked(
    kafka: KafkaInUse, topic: str
) -> None:
    listener = kafka.require_own().proxied_listeners[1]
    with KafkaProxy(listener.advertised_port, listener.port):
        producer = transactional(
            f"127.0.0.1:{listener.advertised_port}", delivery_timeout_ms=5000, request_timeout_ms=2000, linger_ms=0
        )
        producer.begin_transaction()
        producer.send(topic, b"kept", partition=0).get(DEADLINE_S)
    lost = producer.send(topic, b"lost", partition=0)  # the proxy is closed
    wait_until(lambda: bool(lost.is_done))

    with KafkaProxy(listener.advertised_port, listener.port), closing(producer):
        producer.commit_transaction()

    # Not from the same producer: if the lost record had a sequence number already, the broker refuses the next ones.
    with closing(transactional(kafka.bootstrap)) as successor:
        successor.begin_transaction()
        successor.send(topic, b"later", partition=0)
        successor.commit_transaction()
    assert read(kafka.bootstrap, topic, b"later") == [b"kept", b"later"]
    assert not lost.succeeded()  # KafkaUnit checks this before it commits


def test_b3_an_expelled_member_is_fenced_only_with_the_group_metadata_of_its_last_poll(
    kafka: KafkaInUse, topic: str
) -> None:
    zombie, polled_as = member(kafka.bootstrap, topic, max_poll_interval_ms=2100)
    with closing(zombie), closing(transactional(kafka.bootstrap)) as producer:
        wait_until(lambda: zombie.group_metadata().generation_id < 0)  # because it does not poll
        successor, _ = member(kafka.bootstrap, topic)
        with closing(successor):
            current = zombie.group_metadata()
            assert (current.generation_id, current.member_id) == (-1, "")
            producer.begin_transaction()
            with pytest.raises(errors.CommitFailedError):
                producer.send_offsets_to_transaction(offset_of(0, topic, 7), polled_as)
            producer.abort_transaction()
    assert committed_offsets(kafka.bootstrap, topic) == {}

    with closing(transactional(kafka.bootstrap)) as producer:
        producer.begin_transaction()
        producer.send_offsets_to_transaction(offset_of(0, topic, 7), current)
        producer.commit_transaction()
    assert committed_offsets(kafka.bootstrap, topic) == {0: 7}


@pytest.mark.parametrize("recreated", [False, True])
def test_b4_offsets_of_a_failed_transaction_are_committed_with_the_next_unless_the_producer_is_new(
    kafka: KafkaInUse, topic: str, recreated: bool
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
        if recreated:
            producer.close()
            producer = transactional(kafka.bootstrap, name)

        producer.begin_transaction()
        producer.send_offsets_to_transaction(offset_of(1, topic, 5), group)
        producer.commit_transaction()
        producer.close()

    assert committed_offsets(kafka.bootstrap, topic) == ({1: 5} if recreated else {0: 99, 1: 5})


def test_b6_a_poll_never_ends_after_the_library_failed_to_decode_a_value_so_we_read_bytes(
    kafka: KafkaInUse, topic: str, start_child: StartChild
) -> None:
    with closing(KafkaProducer(bootstrap_servers=kafka.bootstrap)) as producer:
        producer.send(topic, b"not a number").get(DEADLINE_S)

    bytes_process = start_child("poll", kafka.bootstrap, topic, "bytes")
    assert prints(bytes_process, "records")
    assert prints(bytes_process, "nothing")

    decoding_process = start_child("poll", kafka.bootstrap, topic, "int")
    assert prints(decoding_process, "refused")
    process = psutil.Process(decoding_process.pid)
    cpu_before_s = process.cpu_times().user
    wait_until(lambda: process.cpu_times().user - cpu_before_s > 1.0, "a second of CPU time")
    assert not prints(decoding_process, "nothing", 0.0)  # a poll takes half a second


def test_b7_a_partition_paused_amid_its_records_is_read_again_only_after_they_are_discarded(
    kafka: KafkaInUse, topic: str
) -> None:
    tps = [TopicPartition(topic, p) for p in (0, 1)]
    with closing(KafkaProducer(bootstrap_servers=kafka.bootstrap)) as producer:
        for tp in tps:
            for number in range(10):
                producer.send(topic, str(number).encode(), partition=tp.partition)
        producer.flush()
    settings = {"bootstrap_servers": kafka.bootstrap, "auto_offset_reset": "earliest", "enable_auto_commit": False}
    with closing(KafkaConsumer(**settings)) as consumer:
        consumer.assign(tps)
        (paused,) = wait_until(lambda: consumer.poll(timeout_ms=200, max_records=3))
        (other,) = set(tps) - {paused}
        consumer.pause(paused)
        wait_until(lambda: consumer.poll(timeout_ms=200) and consumer.position(other) == 10)
        consumer.resume(paused)
        end_s = time.monotonic() + HANG_S
        while time.monotonic() < end_s:
            assert consumer.poll(timeout_ms=200) == {}

        forget_fetched(consumer, [paused])
        batches = wait_until(lambda: consumer.poll(timeout_ms=200))

    assert [record.offset for record in batches[paused]] == list(range(3, 10))
