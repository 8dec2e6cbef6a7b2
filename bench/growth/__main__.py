"""`make bench-growth`: loads years of made-up events month by month, and measures whether the rate holds.

The records pass through the real loader on the embedded broker. The measure is CPU time per record of the loader and
its sessions in PostgreSQL, because the wall clock depends on what else runs. docs/performance.md has the results.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

from bench.growth.chart import draw
from bench.growth.records import EVENTS_PER_MONTH
from bench.growth.report import BAR, cost_us, growth_of, report_of
from bench.growth.site import GrowthSite, LoadedPart, TableStatistics, growth_site

EVENTS_PER_ARCHIVE = 39_360


def main() -> None:
    options = _options()
    count = round(options.archives * EVENTS_PER_ARCHIVE / EVENTS_PER_MONTH) if options.archives else options.months
    with growth_site() as site:
        months = load_months(site, count, options.minutes)
        months[-1] = months[-1]._replace(tables=site.tables())
        indexes = site.indexes()
        unchanged = load_again(site, sorted({0, len(months) - 1}))
    print(report_of(months, indexes, unchanged))
    if options.picture is not None:
        draw(months, options.picture)
    if unchanged or growth_of(months) > BAR:
        raise SystemExit(1)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench.growth", description=__doc__)
    size = parser.add_mutually_exclusive_group()
    size.add_argument("--months", type=int, default=24, help="months of 4,592 events (default: %(default)s)")
    size.add_argument("--archives", type=float, help="recorded archives of 39,360 events; 14 are ten years")
    parser.add_argument(
        "--minutes", type=float, default=600.0, help="begin no month later than this (default: %(default)s)"
    )
    parser.add_argument("--picture", type=Path, metavar="FILE", help="draw the months into this .png or .svg file")
    return parser.parse_args()


def load_months(site: GrowthSite, count: int, minutes: float) -> list[LoadedPart]:
    """Load `count` months, or those that begin within `minutes`; at least one."""
    months: list[LoadedPart] = []
    ends_s = time.monotonic() + minutes * 60
    with site.loader() as process:
        for number in range(count):
            if months and time.monotonic() > ends_s:
                break
            part = site.load(process, number)
            months.append(part)
            sys.stderr.write(
                f"month {number + 1} of {count}: {part.records / part.elapsed_s:,.0f} records/s,"
                f" {cost_us(part):.0f} us CPU per record\n"
            )
    return months


def load_again(site: GrowthSite, numbers: list[int]) -> list[TableStatistics]:
    """Load months a second time; returns what was written to each table, and no table without writes."""
    before = {table.name: table for table in site.tables()}
    with site.loader() as process:
        for number in numbers:
            site.load(process, number)
    return [
        late._replace(
            inserted=late.inserted - early.inserted,
            updated=late.updated - early.updated,
            deleted=late.deleted - early.deleted,
        )
        for late in site.tables()
        if late.writes != (early := before[late.name]).writes
    ]


if __name__ == "__main__":
    main()
