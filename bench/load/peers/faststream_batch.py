"""FastStream: a hand-written batch subscriber. One transaction for each batch: COPY to a staging table, then an upsert.

Offsets are committed after the handler, so a record may be loaded twice.
"""

import os
from pathlib import Path

import psycopg
from faststream import FastStream
from faststream.confluent import KafkaBroker
from pydantic import BaseModel


class SessionMessage(BaseModel):
    session_key: str


class CardMessage(BaseModel):
    event_key: str
    source: str
    session: SessionMessage
    number: int
    scheduled_at: str | None = None
    distance_m: int | None = None
    known_at: str
    document_hash: str


COLUMNS = "event_key, source, session_key, number, scheduled_at, distance_m, known_at, document_hash"
SETS = ", ".join(f"{name} = excluded.{name}" for name in COLUMNS.split(", ")[1:])
UPSERT = f"INSERT INTO events ({COLUMNS}) SELECT {COLUMNS} FROM stage ON CONFLICT (event_key) DO UPDATE SET {SETS}"

broker = KafkaBroker(os.environ["LOAD_KAFKA"], logger=None)
app = FastStream(broker)
connection = psycopg.connect("", autocommit=True)
connection.execute("CREATE TEMP TABLE stage (LIKE events) ON COMMIT DELETE ROWS")


@broker.subscriber(
    os.environ["LOAD_TOPIC"],
    group_id=os.environ["PGDATABASE"],
    auto_offset_reset="earliest",
    batch=True,
    max_records=2000,
)
async def load(cards: list[CardMessage]) -> None:
    newest = {card.event_key: card for card in cards}  # an upsert must not meet a key twice
    with connection.transaction(), connection.cursor() as cursor:
        with cursor.copy(f"COPY stage ({COLUMNS}) FROM STDIN") as copy:
            for card in newest.values():
                copy.write_row(
                    (card.event_key, card.source, card.session.session_key, card.number, card.scheduled_at,
                     card.distance_m, card.known_at, card.document_hash)
                )  # fmt: skip
        cursor.execute(UPSERT)


@app.on_startup
async def ready() -> None:
    Path(os.environ["LOAD_READY"]).touch()


if __name__ == "__main__":
    import asyncio

    asyncio.run(app.run())
