"""The command `headrace topics`: lists the topics, prints their records and skips damaged ones."""

from __future__ import annotations

import datetime as dt
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Annotated, Any

import orjson
import typer

from headrace.database.access import open_broker, open_existing_database, topics_of
from headrace.remote.asking import ApiOptions
from headrace.remote.client import NotRunningError
from headrace.remote.steering import topics_of as topics_of_service
from headrace.terminal.arguments import BrokerOptions, Output, OutputOption, WideOption, grouped_options
from headrace.terminal.output import print_json, print_table
from shared.broker.contract import Broker, OffsetRange, Record, TopicPartition
from shared.broker.counting.read_range import read_range
from shared.errors import ConfigError, HeadraceError
from shared.settings.sections import Settings
from shared.topics import SERVICES, WRITES, topic_specs

# On Kafka, offsets have gaps: if the last offsets hold too few records, read a range this many times larger.
RANGE_GROWTH = 4
READABLE_TOPICS = tuple(spec.name for spec in topic_specs() if not spec.compacted)

app = typer.Typer(help="Topics and their records.", invoke_without_command=True, rich_markup_mode=None)
COLUMNS = ("topic", "partitions", "begin", "end", "records", "bytes")


def complete_topic(incomplete: str) -> list[str]:
    """The topics whose records can be read, for the completion of a shell."""
    return [topic for topic in READABLE_TOPICS if topic.startswith(incomplete)]


TopicArgument = Annotated[str, typer.Argument(metavar="TOPIC", autocompletion=complete_topic)]


@app.callback()
@grouped_options
def topics(
    options: BrokerOptions, context: typer.Context, output: OutputOption = Output.TABLE, wide: WideOption = False
) -> None:
    """List the topics, or work on the records of one: tail, get, skip."""
    if context.invoked_subcommand is None:
        print_topics(options, output, wide)


@app.command("list")
@grouped_options
def list_topics(options: BrokerOptions, output: OutputOption = Output.TABLE, wide: WideOption = False) -> None:
    """List topics: partitions, first and next offset (summed over partitions), records, bytes.

    On Kafka, offsets have gaps: records are counted by reading all of them, and the bytes are unknown.
    """
    print_topics(options, output, wide)


def print_topics(options: BrokerOptions, output: Output, wide: bool) -> None:
    settings = options.settings
    with open_existing_database(settings) as access, open_broker(access, settings, "headrace topics") as broker:
        rows = topic_sizes(broker, [spec.name for spec in topics_of(settings) if not spec.compacted])
    if output is Output.JSON:
        print_json([dict(zip(COLUMNS, row, strict=True)) for row in rows])
    else:
        print_table(COLUMNS, rows, wide=wide)


def topic_sizes(broker: Broker, topics: Sequence[str]) -> list[tuple[str, int, int, int, int, int | None]]:
    """One row per topic, with the columns of COLUMNS."""
    tps = {topic: broker.partitions(topic) for topic in topics}
    everything = [tp for each in tps.values() for tp in each]
    begins, ends = broker.begin_offsets(everything), broker.end_offsets(everything)
    spans = {tp: OffsetRange(tp, begins[tp], ends[tp]) for tp in everything}
    records = broker.record_count().count(set(spans.values()))
    rows = []
    for topic, each in tps.items():
        begin, end = sum(begins[tp] for tp in each), sum(ends[tp] for tp in each)
        rows.append((topic, len(each), begin, end, sum(records[spans[tp]] for tp in each), broker.stored_bytes(topic)))
    return rows


@app.command()
@grouped_options
def tail(
    options: BrokerOptions,
    topic: TopicArgument,
    count: Annotated[int, typer.Option("-n", "--records", min=1, max=10_000, help="How many at most.")] = 10,
) -> None:
    """Print the newest records of a topic, the oldest first, one JSON object per line."""
    with _open_broker(options.settings) as broker:
        records = newest_records(broker, _validated_topic(topic), count)
    for record in records:
        print_json(record_as_json(record))


@app.command()
@grouped_options
def get(
    options: BrokerOptions,
    topic: TopicArgument,
    partition: Annotated[int, typer.Argument(metavar="PARTITION", min=0)],
    offset: Annotated[int, typer.Argument(metavar="OFFSET", min=0)],
) -> None:
    """Print one record as indented JSON."""
    with _open_broker(options.settings) as broker:
        record = record_at(broker, TopicPartition(_validated_topic(topic), partition), offset)
    print_json(record_as_json(record), indent=True)


@app.command()
@grouped_options
def skip(
    api_options: ApiOptions,
    topic: TopicArgument,
    partition: Annotated[int, typer.Argument(metavar="PARTITION", min=0)],
    offset: Annotated[int, typer.Argument(metavar="OFFSET", min=0)],
    reason: Annotated[str, typer.Option("--reason", metavar="TEXT", help="Why, for the audit trail.")],
) -> None:
    """Continue a partition after stored records that cannot be decoded, in each service that is held back by them.

    `headrace status` shows the offset. The records are counted in headrace_records_skipped_total.
    """
    path = f"/topics/{_validated_topic(topic)}/partitions/{partition}/skip"
    skips: list[dict[str, Any]] = []
    readers = [each for each in SERVICES if topic in topics_of_service(each) and topic not in WRITES[each]]
    for service in readers[:1] if api_options.url else readers:
        with suppress(NotRunningError), api_options.open_api(service) as client:
            if _is_damaged(client.get(f"/topics/{topic}"), partition):
                hold = client.put(path, {"offset": offset, "reason": reason}).body
                skips.append({"service": service, "continue_at": hold["continue_at"]})
    if not skips:
        raise HeadraceError(f"no running service is held back by damaged records of {topic}/{partition}")
    if api_options.output is Output.JSON:
        print_json(skips)
    else:
        for each in skips:
            sys.stdout.write(f"the {each['service']} continues {topic}/{partition} at offset {each['continue_at']}\n")


def _is_damaged(topic: Mapping[str, Any], partition: int) -> bool:
    return any(
        each["partition"] == partition and each["hold"] and each["hold"]["kind"] == "damaged"
        for each in topic["partitions"]
    )


def record_at(broker: Broker, tp: TopicPartition, offset: int) -> Record:
    """The record at an offset. Raises ConfigError that names the available partitions or offsets."""
    partitions = broker.partitions(tp.topic)
    if tp not in partitions:
        raise ConfigError(f"{tp.topic} has partitions 0 to {len(partitions) - 1}")
    begin, end = broker.begin_offsets([tp])[tp], broker.end_offsets([tp])[tp]
    if not begin <= offset < end:
        available = f"offsets {begin} to {end - 1}" if end > begin else "no records"
        raise ConfigError(f"{tp.topic}/{tp.partition} holds {available}")
    records = [record for batch in read_range(broker, {tp: (offset, offset + 1)}) for record in batch]
    if not records:
        raise ConfigError(
            f"{tp.topic}/{tp.partition}/{offset} holds no record: the offset is a transaction marker, or its record was"
            " aborted"
        )
    return records[0]


def newest_records(broker: Broker, topic: str, count: int) -> list[Record]:
    """The newest `count` records of all partitions, the oldest first."""
    tps = broker.partitions(topic)
    begins, ends = broker.begin_offsets(tps), broker.end_offsets(tps)
    span = count
    while True:
        ranges = {tp: (max(begins[tp], ends[tp] - span), ends[tp]) for tp in tps}
        records = [record for batch in read_range(broker, ranges) for record in batch]
        counts = Counter(record.partition for record in records)
        if all(counts[tp.partition] >= count or begin == begins[tp] for tp, (begin, _) in ranges.items()):
            break
        span *= RANGE_GROWTH
    return sorted(records, key=lambda record: (record.timestamp_ms, record.partition, record.offset))[-count:]


def record_as_json(record: Record) -> dict[str, Any]:
    """A record for people; its value as JSON if it can be parsed, otherwise as text. `appended_at` is UTC."""
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


def _validated_topic(topic: str) -> str:
    if topic not in READABLE_TOPICS:
        raise ConfigError(f"there is no topic {topic!r}; expected one of {', '.join(READABLE_TOPICS)}")
    return topic


@contextmanager
def _open_broker(settings: Settings) -> Iterator[Broker]:
    with open_existing_database(settings) as access, open_broker(access, settings, "headrace topics") as broker:
        yield broker
