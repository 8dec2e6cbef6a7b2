"""What a run did, for programs (one JSON object) and for people (lines)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from headrace.database.access import one_line
from headrace.progress.positions import Reading
from headrace.progress.record_counts import RecordCounts
from headrace.progress.text import duration, number_of
from headrace.progress.throughput import Throughput
from services.fetcher.planning.coverage import coverage_text
from shared.topics import SERVICES

# The column where the text of a line begins.
INDENT = " " * 15
MOST_FAILED_WINDOWS = 20


@dataclass(frozen=True)
class Suggestion:
    """Something to try next: what it shows, and the command lines that do it."""

    purpose: str
    commands: tuple[str, ...]


@dataclass(frozen=True)
class Report:
    """What the lines add to the summary. `statuses`: events by status; `causes`: of dead letters; `scores`: per
    state of knowledge, as in a demonstration's summary; `messages`: sent texts as plain lines, the oldest first;
    `exports`: place and formats of the daily files, None if the loader writes none."""

    data_dir: Path
    statuses: Mapping[str, int]
    causes: Sequence[Mapping[str, Any]] = ()
    scores: Mapping[str, Mapping[str, float]] | None = None
    messages: Sequence[Sequence[str]] = ()
    suggestions: Sequence[Suggestion] = ()
    exports: str | None = None


def summary_of(
    counts: RecordCounts,
    reading: Reading,
    throughput: Throughput,
    views: Mapping[str, int],
    predictions: int,
    sent: int,
    seconds: float,
) -> dict[str, Any]:
    """A topic's `records` is what it holds; `in` and `out` are what was appended and what its main reader read in this
    run. Views, predictions and notifications count everything in the database."""
    return {
        "topics": {topic: counts.of_topic(topic) for topic in counts.used},
        "views": dict(views),
        "dead_letters": views["dead_letters"],
        "parked": views["parked"],
        "regressions": views["regressions"],
        "corrections": views["corrections"],
        "predictions": predictions,
        "notifications": sent,
        "failed_windows": [dict(failed) for failed in (reading.fetcher.failed if reading.fetcher else ())],
        "days": dict(reading.fetcher.days) if reading.fetcher and reading.fetcher.days else None,
        "seconds": round(seconds, 3),
        "stages": {
            service: _stage(counts.handled(service), throughput.busy_s(service), throughput.peak_per_s(service))
            for service in SERVICES
        },
    }


def summary_lines(summary: Mapping[str, Any], report: Report) -> list[str]:
    return [
        f"Done in {duration(summary['seconds'])}.",
        "",
        *_stage_lines(summary["stages"]),
        "",
        *_loaded_lines(summary, report),
        *_problem_lines(summary, report),
        *_prediction_lines(summary, report),
        *_message_lines(summary, report),
        *([f"Daily files    {report.exports}"] if report.exports else []),
        f"Logs           {report.data_dir / 'logs'}",
        *_suggestion_lines(report.suggestions),
    ]


def window_text(failed: Mapping[str, Any]) -> str:
    """A failed window in one line, whichever fields the fetcher reports."""
    place = " ".join(str(failed[key]) for key in ("feed", "date", "window") if failed.get(key))
    cause = next((str(failed[key]) for key in ("cause", "error", "reason", "message") if failed.get(key)), "")
    return one_line(f"{place}: {cause}")[:400]


def cause_text(cause: Mapping[str, Any]) -> str:
    message = one_line(cause["message"])[:200]
    return f"{cause['service']}: {cause['records']:,} x {cause['error']}: {message} (for example {cause['example']})"


def _stage(records: int, busy_s: float, peak_per_s: float) -> dict[str, float]:
    mean = round(records / busy_s, 1) if busy_s else 0.0
    return {"records": records, "records_per_s": mean, "peak_records_per_s": max(mean, round(peak_per_s, 1))}


def _stage_lines(stages: Mapping[str, Mapping[str, float]]) -> Iterator[str]:
    yield f"{'Stage':<14} {'records':>10} {'peak per s':>12}"
    for service, stage in stages.items():
        yield f"{service:<14} {stage['records']:>10,} {stage['peak_records_per_s']:>12,.0f}"


def _loaded_lines(summary: Mapping[str, Any], report: Report) -> Iterator[str]:
    views = summary["views"]
    by_status = ", ".join(f"{count:,} {status}" for status, count in report.statuses.items())
    yield f"Loaded         {views['events']:,} events: {by_status or 'none'}"
    names = {
        "sessions": "sessions",
        "entries": "entries",
        "entities": "entities",
        "outcomes": "outcomes",
        "transactions": "payouts",
    }
    yield INDENT + ", ".join(f"{views[view]:,} {name}" for view, name in names.items())
    if summary["days"]:
        yield f"Days           {coverage_text(summary['days'])}"
    yield (
        f"Changes        {number_of(summary['corrections'], 'value')} corrected by later documents,"
        f" {summary['regressions']:,} missing in later documents and kept"
    )


def _problem_lines(summary: Mapping[str, Any], report: Report) -> Iterator[str]:
    failed = summary["failed_windows"]
    counts = {"failed window": len(failed), "dead letter": summary["dead_letters"], "parked record": summary["parked"]}
    problems = ", ".join(number_of(count, name) for name, count in counts.items() if count)
    yield f"Problems       {problems or 'none: no failed windows, no dead letters, no parked records'}"
    yield from (f"{INDENT}failed window {window_text(each)}" for each in failed[:MOST_FAILED_WINDOWS])
    yield from (f"{INDENT}dead letters  {cause_text(each)}" for each in report.causes)


def _prediction_lines(summary: Mapping[str, Any], report: Report) -> Iterator[str]:
    yield f"Predictions    {summary['predictions']:,} stored"
    if report.scores:
        yield f"{INDENT}log-loss of the winner (lower is better):"
        yield f"{INDENT}{'known':<13}{'events':>8}{'model':>8}{'perfect learner':>17}{'base rate':>11}"
    for state, score in (report.scores or {}).items():
        yield (
            f"{INDENT}{state:<13}{score['n']:>8,}{score['log_loss']:>8.3f}{score['truth_log_loss']:>17.3f}"
            f"{score['base_log_loss']:>11.3f}"
        )


def _message_lines(summary: Mapping[str, Any], report: Report) -> Iterator[str]:
    last = "; the last ones:" if report.messages else ""
    yield f"Messages       {summary['notifications']:,} sent{last}"
    for first, *others in report.messages:
        yield f"{INDENT}{first}"
        yield from (f"{INDENT}  {line}" for line in others)


def _suggestion_lines(suggestions: Sequence[Suggestion]) -> Iterator[str]:
    if suggestions:
        yield from ("", "Try next")
    for suggestion in suggestions:
        yield f"  {suggestion.purpose}"
        yield from (f"    {command}" for command in suggestion.commands)
