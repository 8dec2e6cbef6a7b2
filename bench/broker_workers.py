"""Workers that copy records from one topic to another: the runtime, and bare loops of kafka-python.

Each worker runs in its own process, releases `ready` when it has its share of the partitions, and waits for `go` before
it handles the first record.
"""

from __future__ import annotations

import gc
import threading
import time
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from bench.broker_site import MAX_UNIT_RECORDS, BrokerSite
from shared.broker.contract import NewRecord
from shared.broker.kafka.client import addresses_of, client_settings
from shared.events import MESSAGE_TYPES
from shared.records import DecodedRecord
from shared.runtime.loops.consumer import ConsumerLoop
from shared.runtime.loops.handler import InUnit
from shared.runtime.metrics import Metrics
from shared.settings.sections import KafkaSettings


class Ready(Protocol):
    def release(self) -> None: ...


class Go(Protocol):
    def wait(self) -> bool: ...


def group_of(source: str) -> str:
    return f"group-{source}"


def runtime(site: BrokerSite, source: str, target: str, slot: str, share: int, ready: Ready, go: Go) -> None:
    """The consumer loop of the services with a handler that only copies: poll, decode, append, advance, commit."""

    def handle(batch: Sequence[DecodedRecord]) -> list[NewRecord]:
        go.wait()
        return [NewRecord(target, each.record.key, each.record.value, each.record.headers) for each in batch]

    loop = ConsumerLoop(
        site.broker(),
        service=group_of(source),
        slot=slot,
        reads=[source],
        metrics=Metrics(),
        handler=InUnit(handle),
        max_records=MAX_UNIT_RECORDS,
    )

    def report() -> None:
        while loop.assigned != share:
            time.sleep(0.02)
        ready.release()

    threading.Thread(target=report, daemon=True).start()
    loop.run()


def bare(site: BrokerSite, source: str, target: str, slot: str, share: int, ready: Ready, go: Go) -> None:
    """Consume and produce in transactions of the same size, without decoding."""
    _bare(site, source, target, slot, share, ready, go, decoding=False)


def bare_decoding(site: BrokerSite, source: str, target: str, slot: str, share: int, ready: Ready, go: Go) -> None:
    """The same, but each message is parsed and validated, as every real consumer must do."""
    _bare(site, source, target, slot, share, ready, go, decoding=True)


def _bare(
    site: BrokerSite, source: str, target: str, slot: str, share: int, ready: Ready, go: Go, *, decoding: bool
) -> None:
    """A loop with the client settings, partitions and garbage collector settings of the runtime.

    It does not check the future of each record, has no metrics, and is not exactly-once under faults.
    """
    # kafka is imported in functions, so that the embedded broker is measured without it.
    from kafka.structs import OffsetAndMetadata  # noqa: PLC0415

    gc.freeze()
    gc.set_threshold(100_000, 20, 20)
    common = client_settings(addresses_of(site.url), KafkaSettings(), f"bare-{slot}")
    del common["kafka_client"]
    consumer, producer = _bare_consumer(common, source, slot), _bare_producer(common, source, slot)
    producer.init_transactions()
    while len(consumer.assignment()) != share:
        consumer.poll(50, max_records=1)
    ready.release()
    validate = MESSAGE_TYPES["loaded-event/1"].validate_json
    while True:
        polled: dict[Any, list[Any]] = consumer.poll(500, max_records=MAX_UNIT_RECORDS)
        if not polled:
            continue
        go.wait()
        producer.begin_transaction()
        for tp, records in polled.items():
            for each in records:
                if decoding:
                    validate(each.value)
                producer.send(target, each.value, each.key, headers=each.headers, partition=tp.partition)
        offsets = {tp: OffsetAndMetadata(records[-1].offset + 1, "", -1) for tp, records in polled.items()}
        producer.send_offsets_to_transaction(offsets, consumer.group_metadata())
        producer.commit_transaction()


def _bare_consumer(common: Mapping[str, Any], source: str, slot: str) -> Any:
    import kafka  # noqa: PLC0415

    return kafka.KafkaConsumer(
        source,
        **common,
        group_id=f"headrace.{group_of(source)}",
        group_instance_id=slot,
        session_timeout_ms=10_000,
        isolation_level="read_committed",
        enable_auto_commit=False,
        auto_offset_reset="earliest",
        fetch_max_wait_ms=50,
        max_partition_fetch_bytes=8 * 1024 * 1024,
        metrics_enabled=False,
    )


def _bare_producer(common: Mapping[str, Any], source: str, slot: str) -> Any:
    import kafka  # noqa: PLC0415

    return kafka.KafkaProducer(
        **common,
        transactional_id=f"bare-{source}-{slot}",
        transaction_timeout_ms=60_000,
        linger_ms=5,
        batch_size=256 * 1024,
        compression_type="lz4",
        metrics_enabled=False,
    )
