"""`headrace topics`: the list, and single records."""

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


def test_a_record_can_be_found_by_tail_and_looked_at_by_its_place(headrace: Headrace, access: Access) -> None:
    append(access, "clean-events", 2)

    _, out, _ = headrace("topics", "tail", "clean-events", "-n", "1")
    found = json.loads(out)
    _, whole, _ = headrace("topics", "get", *found["place"].split("/"))

    assert found["value"] == {"n": 1}
    assert json.loads(whole) == found


def test_an_offset_that_is_not_there_is_answered_with_those_that_are(headrace: Headrace) -> None:
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
