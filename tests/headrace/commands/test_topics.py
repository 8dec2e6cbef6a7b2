"""`headrace topics`: the list of topics, and single records."""

from __future__ import annotations

import json
from collections.abc import Callable

from headrace.database.access import Access
from shared.broker.contract import NewRecord
from shared.broker.postgres.broker import PostgresBroker

Headrace = Callable[..., tuple[int, str, str]]


def test_topics_are_listed_with_their_sizes(headrace: Headrace, access: Access) -> None:
    append(access, "raw-events", 3)

    _, out, _ = headrace("topics", "--output", "json")

    rows = {row["topic"]: row for row in json.loads(out)}
    raw = rows["raw-events"]
    assert (raw["partitions"], raw["records"], raw["end"] - raw["begin"]) == (6, raw["end"], raw["records"])
    assert raw["records"] >= 3
    assert raw["bytes"] > 0
    assert rows["predictions"]["records"] == 0


def test_tail_prints_a_record_with_its_place_and_get_prints_the_same_record(headrace: Headrace, access: Access) -> None:
    append(access, "clean-events", 2)

    _, out, _ = headrace("topics", "tail", "clean-events", "-n", "1")
    record = json.loads(out)
    _, same_record, _ = headrace("topics", "get", *record["place"].split("/"))

    assert record["value"] == {"n": 1}
    assert json.loads(same_record) == record


def test_a_missing_offset_is_reported_with_the_existing_ones(headrace: Headrace) -> None:
    code, _, err = headrace("topics", "get", "loader.dlq", "0", "5")

    assert code == 2
    assert "loader.dlq/0 holds no records" in err


def append(access: Access, topic: str, count: int) -> None:
    broker = PostgresBroker(access.owner().conninfo())
    producer = broker.producer("test")
    with producer.unit() as unit:
        unit.append([NewRecord(topic, b"key", json.dumps({"n": n}).encode(), {"schema": b"x/1"}) for n in range(count)])
        unit.commit()
    producer.close()
    broker.close()
