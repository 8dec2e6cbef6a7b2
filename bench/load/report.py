"""The report of `make bench-load`: a Markdown table of medians, and what could not run."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from statistics import median

from bench.load.site import LoadCost

HEAD = """| loader | records/s | lowest, highest | CPU us per record | loader | PostgreSQL |
| --- | ---: | ---: | ---: | ---: | ---: |"""


def report_of(costs: Mapping[str, Sequence[LoadCost]], failures: Mapping[str, str], versions: Mapping[str, str]) -> str:
    return "\n".join([HEAD, *_rows(costs), "", *_notes(failures, versions)])


def _rows(costs: Mapping[str, Sequence[LoadCost]]) -> Iterator[str]:
    for name, measured in costs.items():
        if not measured:
            continue
        rates = [each.records / each.elapsed_s for each in measured]
        loader_us = median(each.loader_cpu_s / each.records * 1e6 for each in measured)
        postgres_us = median(each.postgres_cpu_s / each.records * 1e6 for each in measured)
        yield (
            f"| {name} | {median(rates):,.0f} | {min(rates):,.0f}, {max(rates):,.0f} | {loader_us + postgres_us:.1f}"
            f" | {loader_us:.1f} | {postgres_us:.1f} |"
        )


def _notes(failures: Mapping[str, str], versions: Mapping[str, str]) -> Iterator[str]:
    for name, reason in failures.items():
        yield f"* {name}: not measured: {reason}"
    for peer, packages in versions.items():
        yield f"* {peer}: {packages}"
