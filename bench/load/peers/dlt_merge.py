"""dlt: one run of a pipeline that merges all records by key, from dicts (default) or from Arrow tables (`arrow`).

The records are read with confluent-kafka in batches, as dlt's own source for Kafka does, without saving the offsets.
"""

import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dlt
import pyarrow as pa
from confluent_kafka import Consumer

BATCH = 5000
FIELDS = ("event_key", "source", "number", "scheduled_at", "distance_m", "known_at", "document_hash")


def batches() -> Iterator[list[dict[str, Any]]]:
    settings = {
        "bootstrap.servers": os.environ["LOAD_KAFKA"],
        "group.id": os.environ["PGDATABASE"],
        "auto.offset.reset": "earliest",
        "enable.auto.commit": False,
    }
    consumer = Consumer(settings)
    consumer.subscribe([os.environ["LOAD_TOPIC"]])
    left = int(os.environ["LOAD_RECORDS"])
    while left:
        messages = [message for message in consumer.consume(min(BATCH, left), 1.0) if not message.error()]
        left -= len(messages)
        if messages:
            yield [flat(json.loads(message.value())) for message in messages]
    consumer.close()


def flat(card: dict[str, Any]) -> dict[str, Any]:
    return {name: card.get(name) for name in FIELDS} | {"session_key": card["session"]["session_key"]}


def main() -> None:
    is_arrow = "arrow" in sys.argv[1:]

    @dlt.resource(
        name="events", primary_key="event_key", write_disposition="merge", columns={"known_at": {"dedup_sort": "desc"}}
    )
    def events() -> Iterator[Any]:
        for batch in batches():
            yield pa.Table.from_pylist(batch) if is_arrow else batch

    credentials = "postgresql://{PGUSER}:{PGPASSWORD}@{PGHOST}:{PGPORT}/{PGDATABASE}".format(**os.environ)
    pipeline = dlt.pipeline("bench", destination=dlt.destinations.postgres(credentials), dataset_name="bench")
    Path(os.environ["LOAD_READY"]).touch()
    pipeline.run(events())


if __name__ == "__main__":
    main()
