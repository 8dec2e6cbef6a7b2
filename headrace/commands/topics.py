"""headrace topics: what is in the log."""

from __future__ import annotations

import datetime as dt
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any

import orjson
import typer
from rich.table import Table

from headrace.access import opened_if_made
from headrace.commands.arguments import (
    ConfigOption,
    DatabaseOption,
    DataDirOption,
    Output,
    OutputOption,
    settings_of,
    stdout,
)
from shared.broker.contract import Record, TopicPartition
from shared.broker.postgres_broker import PostgresBroker
from shared.errors import ConfigError
from shared.settings import Settings
from shared.topics import specs

READ_TIMEOUT_S = 5.0
TAIL_BATCH = 500
KNOWN = tuple(spec.name for spec in specs() if not spec.compacted)

app = typer.Typer(help="The log: topics and their records.", invoke_without_command=True, rich_markup_mode=None)
TopicArgument = Annotated[str, typer.Argument(metavar="TOPIC")]


@app.callback()
def topics(
    context: typer.Context,
    output: OutputOption = Output.TABLE,
    data_dir: DataDirOption = None,
    database: DatabaseOption = None,
    config: ConfigOption = None,
) -> None:
    """List the topics, or look into one: tail, get."""
    if context.invoked_subcommand is None:
        list_topics(output, data_dir, database, config)


@app.command("list")
def list_topics(
    output: OutputOption = Output.TABLE,
    data_dir: DataDirOption = None,
    database: DatabaseOption = None,
    config: ConfigOption = None,
) -> None:
    """Every topic: partitions, first and next offset (summed), records, bytes."""
    settings = settings_of(data_dir, database, config)
    with opened_if_made(settings) as access, access.connect("headrace topics") as connection:
        rows = connection.execute(
            "SELECT t.name, t.partitions, sum(p.begin_off)::bigint, sum(p.end_off)::bigint,"
            " sum(p.end_off - p.begin_off)::bigint, coalesce((SELECT sum(octet_length(l.payload))::bigint"
            " FROM broker.log l WHERE l.topic_id = t.id), 0) FROM broker.topics t"
            " JOIN broker.partitions p ON p.topic_id = t.id WHERE NOT t.compacted GROUP BY t.id ORDER BY t.id"
        ).fetchall()
    names = ("topic", "partitions", "begin", "end", "records", "bytes")
    if output is Output.JSON:
        sys.stdout.write(orjson.dumps([dict(zip(names, row, strict=True)) for row in rows]).decode() + "\n")
        return
    table = Table("topic")
    for name in names[1:]:
        table.add_column(name, justify="right")
    for topic, *numbers in rows:
        table.add_row(str(topic), *(f"{number:,}" for number in numbers))
    stdout().print(table)


@app.command()
def tail(
    topic: TopicArgument,
    count: Annotated[int, typer.Option("-n", "--records", min=1, max=10_000, help="How many.")] = 10,
    data_dir: DataDirOption = None,
    database: DatabaseOption = None,
    config: ConfigOption = None,
) -> None:
    """The newest records of a topic, oldest first, one JSON object a line."""
    with _broker(settings_of(data_dir, database, config)) as broker:
        records = newest(broker, _known(topic), count)
    for record in records:
        sys.stdout.write(orjson.dumps(readable(record)).decode() + "\n")


@app.command()
def get(
    topic: TopicArgument,
    partition: Annotated[int, typer.Argument(metavar="PARTITION", min=0)],
    offset: Annotated[int, typer.Argument(metavar="OFFSET", min=0)],
    data_dir: DataDirOption = None,
    database: DatabaseOption = None,
    config: ConfigOption = None,
) -> None:
    """One record, whole, as indented JSON."""
    with _broker(settings_of(data_dir, database, config)) as broker:
        tp = TopicPartition(_known(topic), partition)
        if tp not in broker.partitions(topic):
            raise ConfigError(f"{topic} has partitions 0 to {len(broker.partitions(topic)) - 1}")
        begin, end = broker.begin_offsets([tp])[tp], broker.end_offsets([tp])[tp]
        if not begin <= offset < end:
            held = f"offsets {begin} to {end - 1}" if end > begin else "no records"
            raise ConfigError(f"{topic}/{partition} holds {held}")
        [record] = _read(broker, tp, offset, offset + 1)
    sys.stdout.write(orjson.dumps(readable(record), option=orjson.OPT_INDENT_2).decode() + "\n")


def newest(broker: PostgresBroker, topic: str, count: int) -> list[Record]:
    """The last `count` by time over all partitions."""
    tps = broker.partitions(topic)
    begins, ends = broker.begin_offsets(tps), broker.end_offsets(tps)
    records = [record for tp in tps for record in _read(broker, tp, max(begins[tp], ends[tp] - count), ends[tp])]
    return sorted(records, key=lambda record: (record.timestamp_ms, record.partition, record.offset))[-count:]


def readable(record: Record) -> dict[str, Any]:
    """What a record holds, with its body as JSON where it is that."""
    at = dt.datetime.fromtimestamp(record.timestamp_ms / 1000, dt.UTC)
    return {
        "place": record.place,
        "appended_at": at.isoformat(),
        "key": record.key.decode(errors="replace"),
        "headers": {name: value.decode(errors="replace") for name, value in record.headers.items()},
        "value": _json_or_text(record.value),
    }


def _json_or_text(value: bytes) -> Any:
    try:
        return orjson.loads(value)
    except orjson.JSONDecodeError:
        return value.decode(errors="replace")


def _read(broker: PostgresBroker, tp: TopicPartition, begin: int, end: int) -> list[Record]:
    reader = broker.reader([tp])
    try:
        reader.seek(tp, begin)
        found: list[Record] = []
        while (found[-1].offset + 1 if found else begin) < end:
            polled = reader.poll(READ_TIMEOUT_S, TAIL_BATCH)
            if not polled:
                break
            found += polled
        return [record for record in found if begin <= record.offset < end]
    finally:
        reader.close()


def _known(topic: str) -> str:
    if topic not in KNOWN:
        raise ConfigError(f"there is no topic {topic!r}; there are {', '.join(KNOWN)}")
    return topic


@contextmanager
def _broker(settings: Settings) -> Iterator[PostgresBroker]:
    with opened_if_made(settings) as access:
        broker = PostgresBroker(access.owner().conninfo("headrace topics"))
        try:
            yield broker
        finally:
            broker.close()
