"""The report of `make bench-growth`: Markdown tables, and whether the rate holds."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from statistics import median

from bench.growth.records import EVENTS_PER_MONTH
from bench.growth.site import IndexStatistics, LoadedPart, TableStatistics

# The bar: the last months may cost this much more CPU time per record than the first.
BAR = 1.2
_LINES = 12


def cost_us(part: LoadedPart) -> float:
    """CPU time per record of the loader and its sessions."""
    cpu = part.cpu_us()
    return cpu.loader + cpu.sessions


def growth_of(months: Sequence[LoadedPart]) -> float:
    """Median cost of the last tenth of the months, at least three, divided by that of the first tenth."""
    width = max(min(3, len(months)), len(months) // 10)
    return median(map(cost_us, months[-width:])) / median(map(cost_us, months[:width]))


def report_of(
    months: Sequence[LoadedPart], indexes: Sequence[IndexStatistics], unchanged: Sequence[TableStatistics]
) -> str:
    """`unchanged`: tables that a second pass of the same records wrote to, with the rows that it wrote."""
    growth, events = growth_of(months), len(months) * EVENTS_PER_MONTH
    verdict = "within" if growth <= BAR else "NOT within"
    written = ", ".join(f"{table.name}: {table.writes}" for table in unchanged) or "0 rows"
    return "\n".join(
        [
            *_month_lines(months), "",
            f"CPU time per record, last months / first months: {growth:.2f}, {verdict} the bar of {BAR}",
            f"A second pass of the records of the first and the last month wrote {written}", "",
            *_table_lines(months[-1].tables, events), "",
            *_index_lines(indexes, events),
        ]
    )  # fmt: skip


def _month_lines(months: Sequence[LoadedPart]) -> Iterator[str]:
    yield "| month | records/s | CPU us per record | loader | its sessions | whole server | tables, MB | indexes, MB | dead rows |"  # noqa: E501
    yield "| ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |"
    step = max(1, len(months) // _LINES)
    for number, part in enumerate(months, 1):
        if number > 1 and number % step and number != len(months):
            continue
        cpu = part.cpu_us()
        yield (
            f"| {number} | {part.records / part.elapsed_s:,.0f} | {cost_us(part):.0f} | {cpu.loader:.0f}"
            f" | {cpu.sessions:.0f} | {cpu.server:.0f} | {sum(each.table_bytes for each in part.tables) / 1e6:,.0f}"
            f" | {sum(each.index_bytes for each in part.tables) / 1e6:,.0f}"
            f" | {sum(each.dead for each in part.tables):,} |"
        )


def _table_lines(tables: Sequence[TableStatistics], events: int) -> Iterator[str]:
    """Sizes are MB per million events."""
    yield "| table | rows | updates | of them HOT | dead rows | autovacuums | table, MB per million events | indexes |"
    yield "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |"
    for each in sorted(tables, key=lambda each: -each.table_bytes - each.index_bytes):
        if each.writes:
            hot = f"{each.hot_updated / each.updated:.0%}" if each.updated else ""
            yield (
                f"| `{each.name}` | {each.live:,} | {each.updated:,} | {hot} | {each.dead:,} | {each.autovacuums}"
                f" | {each.table_bytes / events:,.1f} | {each.index_bytes / events:,.1f} |"
            )


def _index_lines(indexes: Sequence[IndexStatistics], events: int) -> Iterator[str]:
    yield "| index | scans | MB per million events |"
    yield "| --- | ---: | ---: |"
    for each in indexes:
        if each.size_bytes >= events:
            yield f"| `{each.name}` | {each.scans:,} | {each.size_bytes / events:,.1f} |"
