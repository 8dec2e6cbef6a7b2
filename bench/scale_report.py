"""The tables of docs/scaling.md, as Markdown."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from statistics import median

from bench.scale_figures import BROKERS, TOGETHER, IdleCost, ScaleFigures, StorageSize
from bench.scale_sizing import (
    FACTS_PER_EVENT,
    GROWING,
    RAW_PER_EVENT,
    VERSIONS,
    Sizing,
    log_bytes_per_event,
    record_bytes,
    rows_per_fact,
    sizing_of,
    table_bytes_per_event,
    version_bytes,
)
from shared.topics import CLEAN, LOADED, RAW, SERVICES

FACTORS = (1, 10, 100, 1000)
SERVERS = {"postgres": "PostgreSQL", "kafka": "Kafka"}


def tables_of(figures: ScaleFigures) -> dict[str, str]:
    """The tables by name. A broker that was not measured is left out."""
    brokers = [broker for broker in BROKERS if broker in figures.storage]
    tables = {"rates": rates(figures, brokers), "costs": costs(figures, brokers), "idle": idle(figures, brokers)}
    tables["storage"] = storage(figures, brokers)
    for broker in brokers:
        tables[f"sizing-{broker}"] = sizing([sizing_of(figures, broker, factor) for factor in FACTORS])
    return tables


def replace_tables(document: str, tables: Mapping[str, str]) -> str:
    """The document with new tables between the comments `bench-scale: NAME` and `end`. Raises ValueError if a table has
    no place."""
    for name, table in tables.items():
        pattern = re.compile(rf"(<!-- bench-scale: {re.escape(name)} -->\n).*?(<!-- end -->)", re.DOTALL)
        document, count = pattern.subn(lambda match, table=table: f"{match[1]}{table}{match[2]}", document)  # type: ignore[misc]
        if count != 1:
            raise ValueError(f"expected one place for the table {name}, found {count}")
    return document


def rates(figures: ScaleFigures, brokers: Sequence[str]) -> str:
    """Records per second by stage and replicas: median, lowest and highest round."""
    counts = sorted({key.replicas for key in figures.costs})
    rows = []
    for broker in brokers:
        for stage in (*SERVICES, TOGETHER):
            cells = []
            for count in counts:
                rounds = [
                    cost.records_per_s
                    for key, costs in figures.costs.items()
                    for cost in costs
                    if (key.broker, key.stage, key.replicas) == (broker, stage, count)
                ]
                cells.append(f"{median(rounds):,.0f} ({min(rounds):,.0f} to {max(rounds):,.0f})" if rounds else "")
            rows.append([broker, stage, *cells])
    table = markdown(["broker", "stage", *(f"{count} replica{'s'[: count > 1]}" for count in counts)], rows)
    rounds_run = max(len(costs) for key, costs in figures.costs.items() if key.stage == TOGETHER)
    return f"{table}\nRounds: {rounds_run}. Season of {figures.storage[brokers[0]].days} days, 864 records a day.\n"


def costs(figures: ScaleFigures, brokers: Sequence[str]) -> str:
    """CPU seconds, memory and connections of each stage with one replica."""
    rows = []
    for broker in brokers:
        for stage in SERVICES:
            cost = figures.median(broker, stage)
            cpu = [f"{cost.per_thousand_s(f'{part}cpu_s'):.3f}" for part in ("", "postgres_", "kafka_")]
            rows.append([broker, stage, *cpu, f"{cost.peak_mb:,.0f}", f"{cost.connections:.0f}"])
        sums = [
            f"{sum(figures.median(broker, stage).per_thousand_s(f'{part}cpu_s') for stage in SERVICES):.3f}"
            for part in ("", "postgres_", "kafka_")
        ]
        rows.append([broker, "sum", *sums, "", ""])
    head = ["broker", "stage", "CPU s of the replica", "of PostgreSQL", "of Kafka", "peak memory, MB", "connections"]
    return markdown(head, rows)


def idle(figures: ScaleFigures, brokers: Sequence[str]) -> str:
    """CPU and memory of the five services and the servers without work."""
    rows = []
    for broker in brokers:
        rounds = figures.idle[broker]

        def middle(value: Callable[[IdleCost], float], rounds: Sequence[IdleCost] = rounds) -> float:
            return median([value(each) for each in rounds])

        replica_mb = middle(lambda each: sum(each.replica_mb.values()) / len(each.replica_mb))
        rows.append([broker, "a replica", f"{middle(lambda e: e.replica_cpu):.3f}", f"{replica_mb:,.0f}"])
        rows.append(
            [broker, "PostgreSQL", f"{middle(lambda e: e.postgres_cpu):.3f}", f"{middle(lambda e: e.postgres_mb):,.0f}"]
        )
        if broker == "kafka":
            rows.append(
                [broker, "Kafka", f"{middle(lambda e: e.kafka_cpu):.3f}", f"{middle(lambda e: e.kafka_mb):,.0f}"]
            )
    return markdown(["broker", "process", "cores", "memory, MB"], rows)


def storage(figures: ScaleFigures, brokers: Sequence[str]) -> str:
    """Bytes per record, row, event and document."""
    sizes = [figures.storage[broker] for broker in brokers]

    def row(name: str, value: Callable[[StorageSize], float]) -> list[str]:
        return [name, *(f"{value(size):,.0f}" for size in sizes)]

    rows = [
        [f"a record of `{topic}`", *(f"{record_bytes(size, topic):,.0f}" for size in sizes)]
        for topic in (RAW, CLEAN, LOADED)
    ]
    rows += [
        [f"`facts.{name}`, an event", *(f"{size.tables[f'facts.{name}'][1] / size.events:,.0f}" for size in sizes)]
        for name in GROWING
    ]
    rows += [
        row(f"`{VERSIONS}`, one version of a fact", version_bytes),
        row("tables, a followed event with its predictions", table_bytes_per_event),
        row("log, one copy of all records of a followed event", log_bytes_per_event),
        row("daily CSV files, an event", lambda size: size.export_bytes / size.events),
        row("archive of documents, a past event", lambda size: size.archive_bytes / size.events),
        row("the fetcher's cursors, an event", lambda size: size.cursor_bytes / size.events),
    ]
    rows.append(["rows of all tables, a fact", *(f"{rows_per_fact(size):.1f}" for size in sizes)])
    return markdown(["bytes of", *brokers], rows)


def sizing(columns: Sequence[Sizing]) -> str:
    """The needs by factor."""

    def row(name: str, value: Callable[[Sizing], str]) -> list[str]:
        return [name, *(value(each) for each in columns)]

    servers = [server for server in SERVERS if columns[-1].cores[server] > 0]
    rows = [
        row("events a day", lambda each: number(each.events_per_day)),
        row("records a day in `raw-events`", lambda each: number(each.raw_per_day)),
        row("the same, in `clean-events`", lambda each: number(each.raw_per_day * FACTS_PER_EVENT / RAW_PER_EVENT)),
        row("busiest minute, raw records/s", lambda each: number(each.raw_per_s)),
    ]
    rows += [
        [f"{stage}: cores (replicas)", *(cores_and_replicas(each, stage) for each in columns)] for stage in SERVICES
    ]
    rows += [[f"{SERVERS[server]}: cores", *(number(each.cores[server]) for each in columns)] for server in servers]
    rows += [
        row("partitions", lambda each: str(each.partitions)),
        row("PostgreSQL: rows/s", lambda each: number(each.rows_per_s)),
        row("PostgreSQL: tables, GB a year", lambda each: number(each.tables_gb_per_year)),
        row("log: MB/s", lambda each: number(each.log_mb_per_s)),
        row("log: GB kept for 14 days", lambda each: number(each.log_gb)),
        row("fetcher: requests/s", lambda each: number(each.requests_per_s)),
        row("fetcher: GB fetched a day", lambda each: number(each.fetched_gb_per_day)),
        row("archive of documents, GB a year", lambda each: number(each.archive_gb_per_year)),
    ]
    return markdown(["", *(f"{each.factor:,} x" for each in columns)], rows)


def cores_and_replicas(each: Sizing, stage: str) -> str:
    return f"{number(each.cores[stage])} ({each.replicas[stage]})"


def number(value: float) -> str:
    """Two significant digits, without an exponent."""
    if value >= 100:
        return f"{round(value, 2 - len(str(int(value)))):,.0f}"
    return f"{float(f'{value:.2g}'):g}"


def markdown(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)
