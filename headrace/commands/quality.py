"""The command `headrace quality`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from headrace.database.access import Access, open_existing_database
from headrace.terminal.arguments import DatabaseOptions, grouped_options
from headrace.terminal.days import DayOptions, parse_day
from headrace.terminal.extras import require_extras
from headrace.terminal.output import print_note, stdout
from shared.errors import ConfigError
from shared.ops.tables import quality_results

if TYPE_CHECKING:
    from headrace.quality.report import QualityReport, ReportSpan
    from headrace.quality.thresholds import Thresholds

TIMEOUT_S = 600.0
APPLICATION = "headrace quality"


@grouped_options
def quality(
    options: DatabaseOptions,
    days: DayOptions,
    source: Annotated[list[str] | None, typer.Option(metavar="S", help="Only this source; repeatable.")] = None,
    venue: Annotated[list[int] | None, typer.Option(metavar="N", help="Only this venue; repeatable.")] = None,
    out: Annotated[Path | None, typer.Option(metavar="FILE", help="Also write the report as an HTML page.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the whole report as JSON.")] = False,
    thresholds: Annotated[
        Path | None, typer.Option(metavar="FILE", help="YAML file that changes the shipped thresholds.")
    ] = None,
    record: Annotated[
        bool, typer.Option("--record", help="Store the broken thresholds, for metrics and alerts.")
    ] = False,
    timeout_s: Annotated[
        float, typer.Option("--timeout", min=0.1, metavar="S", help="Longest time of a query, in seconds.")
    ] = TIMEOUT_S,
) -> int:
    """Measure the quality of the loaded data of some days, and compare it with thresholds.

    Needs the extra `frames`. Exit code 0: no threshold of severity `error` is broken; 1: otherwise.
    """
    require_extras("headrace quality", "frames")
    if record and (source or venue):
        raise ConfigError("--record stores a result for all sources and venues: leave out --source and --venue")
    given = days.required_days()
    first, last = parse_day("--from", str(given["from"])), parse_day("--to", str(given["to"]))
    if last < first:
        raise ConfigError(f"--to {last} is before --from {first}")
    from headrace.quality.report import ReportSpan  # noqa: PLC0415 - pandas takes a second to import
    from headrace.quality.summary import summary_lines  # noqa: PLC0415
    from headrace.quality.threshold_file import read_thresholds  # noqa: PLC0415

    limits = read_thresholds(thresholds)
    with open_existing_database(options.settings) as access:
        report = _report(access, ReportSpan(first, last, venue or None, source or None), limits, timeout_s)
        if record:
            _store(access, report, limits)
    if out is not None:
        out.write_text(report.html(), "utf-8")
        print_note(f"wrote {out}")
    stdout().print(report.json() if as_json else "\n".join(summary_lines(report)), markup=False)
    return 0 if report.is_good else 1


def _report(access: Access, span: ReportSpan, limits: Thresholds, timeout_s: float) -> QualityReport:
    from headrace.frames.client import Headrace  # noqa: PLC0415
    from headrace.frames.connection import ReaderConnection  # noqa: PLC0415
    from headrace.quality.report import build_report  # noqa: PLC0415

    with Headrace(ReaderConnection(lambda: access.reader().conninfo(APPLICATION), timeout_s, None)) as reader:
        return build_report(reader, span, limits)


def _store(access: Access, report: QualityReport, limits: Thresholds) -> None:
    """Of every threshold of severity `error`, how many values break it, also if none does."""
    broken = {name: 0 for name, each in limits.thresholds.items() if each.severity == "error"}
    for finding in report.finding_list:
        if finding.severity == "error":
            broken[finding.threshold] += 1
    texts = [each.text for each in report.finding_list if each.severity == "error"]
    with access.connect(APPLICATION) as connection:
        quality_results.store(connection, (report.span.first, report.span.last), broken, texts)
