"""An audit of a run on a real Kafka: no findings without losses, and a record that the cleaner dropped is found."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from uuid import UUID

import pytest

from headrace.audit.audit_pass import AuditTarget
from headrace.database.access import open_database
from services.fetcher.sources.yaml_file import load_source
from shared.broker.contract import Broker, NewRecord
from shared.broker.counting.read_range import read_range
from shared.broker.kafka.broker import KafkaBroker
from shared.errors import ConfigError
from shared.runtime.loops.consumer import next_offsets
from shared.settings.sections import KafkaSettings, Settings
from shared.topics import RAW
from tests.contract.records import poll_some, write
from tests.headrace.audit.pipeline import audit_now, counts
from tests.headrace.runs import DAYS, RACES, run_once, write_archive
from tests.kafka.use import KafkaInUse

pytestmark = pytest.mark.slow
ALL = 3 * len(DAYS) * RACES + 9
DROPPED = UUID(int=5)


@pytest.fixture
def target(kafka: KafkaInUse, tmp_path: Path) -> Iterator[AuditTarget]:
    url = f"kafka://{kafka.bootstrap}"
    with kafka.empty():
        with closing(KafkaBroker(url, KafkaSettings(), "")) as broker:
            try:
                broker.partitions(RAW)
            except ConfigError:
                pass
            else:
                pytest.skip(f"the Kafka at {kafka.bootstrap} has the topic {RAW}: set HEADRACE_KAFKA to one without")
        run_once(write_archive(tmp_path / "recorded"), tmp_path / "data", "--broker", url)
        with open_database(Settings(data_dir=tmp_path / "data")) as access, access.connect() as connection:
            conninfo = access.owner().conninfo()
            with closing(KafkaBroker(url, KafkaSettings(), conninfo)) as broker:
                sources = {"boatrace": load_source("boatrace")}
                yield AuditTarget(connection, broker, tmp_path / "data" / "archive", sources)


def test_a_record_that_the_cleaner_dropped_is_missing_after_raw_events(target: AuditTarget) -> None:
    complete = audit_now(target)
    assert (complete.findings, counts(complete)) == ([], {"loaded": ALL})

    _append_copy(target.broker)
    waiting = audit_now(target)
    assert (waiting.findings, counts(waiting)) == ([], {"loaded": ALL, "in flight": 1})

    _read_and_drop(target.broker)
    dropped = audit_now(target)
    assert [(each.kind, each.subject, each.where) for each in dropped.findings] == [
        ("missing", str(DROPPED), "raw-events -> clean-events")
    ]


def _append_copy(broker: Broker) -> None:
    """A copy of an existing record, with another id."""
    tps = broker.partitions(RAW)
    begins, ends = broker.begin_offsets(tps), broker.end_offsets(tps)
    batches = read_range(broker, {tp: (begins[tp], ends[tp]) for tp in tps})
    original = next(record for batch in batches for record in batch if b"reference" not in record.key)
    batches.close()
    headers = {**original.headers, "event_id": str(DROPPED).encode()}
    write(broker, [NewRecord(RAW, original.key, original.value, headers)], slot="test")


def _read_and_drop(broker: Broker) -> None:
    """Behaves like a cleaner with a bug: advances its position without an output."""
    with (
        closing(broker.consumer("cleaner", [RAW], "cleaner-0")) as consumer,
        closing(broker.producer("cleaner-0")) as producer,
    ):
        polled = poll_some(consumer, 100)
        with producer.unit() as unit:
            unit.advance(polled.token, next_offsets(polled))
            unit.commit()
