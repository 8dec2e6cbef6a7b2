"""Quix Streams: its PostgreSQL sink, with upserts on the primary key and its default commit interval."""

import os
from pathlib import Path

from quixstreams import Application
from quixstreams.sinks.community.postgresql import PostgreSQLSink

FIELDS = ("event_key", "source", "number", "scheduled_at", "distance_m", "known_at", "document_hash")


def main() -> None:
    app = Application(
        broker_address=os.environ["LOAD_KAFKA"], consumer_group=os.environ["PGDATABASE"], auto_offset_reset="earliest"
    )
    sink = PostgreSQLSink(
        host=os.environ["PGHOST"],
        port=int(os.environ["PGPORT"]),
        dbname=os.environ["PGDATABASE"],
        user=os.environ["PGUSER"],
        password=os.environ["PGPASSWORD"],
        table_name="events",
        primary_key_columns=["event_key"],
        upsert_on_primary_key=True,
        include_metadata=False,
    )
    records = app.dataframe(app.topic(os.environ["LOAD_TOPIC"], value_deserializer="json"))
    flat = records.apply(
        lambda card: {name: card.get(name) for name in FIELDS} | {"session_key": card["session"]["session_key"]}
    )
    flat.sink(sink)
    Path(os.environ["LOAD_READY"]).touch()
    app.run()


if __name__ == "__main__":
    main()
