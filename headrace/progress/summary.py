"""What a run did, for programs (one JSON object) and for people (lines)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from headrace.database.access import one_line
from headrace.progress.positions import Reading
from headrace.progress.record_counts import Tally
from headrace.progress.throughput import Meter
from services.fetcher.planning.coverage import coverage_text
from shared.topics import SERVICES


def summary_of(
    found: Tally, reading: Reading, meter: Meter, views: Mapping[str, int], predictions: int, told: int, seconds: float
) -> dict[str, Any]:
    """A topic's `records` is what it holds; `in` and `out` are what came in and was read by its main reader in this
    run; views, predictions and notifications count all there is."""
    return {
        "topics": {topic: found.of_topic(topic) for topic in found.used},
        "views": dict(views),
        "dead_letters": views["dead_letters"],
        "parked": views["parked"],
        "regressions": views["regressions"],
        "corrections": views["corrections"],
        "predictions": predictions,
        "notifications": told,
        "failed_windows": [dict(failed) for failed in (reading.fetcher.failed if reading.fetcher else ())],
        "days": dict(reading.fetcher.days) if reading.fetcher and reading.fetcher.days else None,
        "seconds": round(seconds, 3),
        "stages": {service: _stage(found.handled(service), meter.busy_s(service)) for service in SERVICES},
    }


def lines_of(
    summary: Mapping[str, Any],
    statuses: Mapping[str, int],
    causes: Sequence[Mapping[str, Any]],
    scores: Sequence[str],
    data_dir: Path,
) -> list[str]:
    """`statuses` counts events by status; `scores` are finished lines about how good the predictions were."""
    views = summary["views"]
    by_status = ", ".join(f"{count:,} {status}" for status, count in statuses.items())
    loaded = ", ".join(
        f"{views[name]:,} {name}" for name in ("sessions", "entries", "entities", "outcomes", "transactions")
    )
    where = "" if data_dir == Path.cwd() / ".headrace" else f" --data-dir {data_dir}"
    return [
        f"Done in {summary['seconds']:.1f} s.",
        "",
        *_stage_lines(summary["stages"]),
        "",
        f"Loaded         {views['events']:,} events ({by_status or 'none'}), {loaded}",
        *([f"Days           {coverage_text(summary['days'])}"] if summary["days"] else []),
        *_trouble(summary, causes),
        *(f"Predictions    {line}" for line in scores or [f"{summary['predictions']:,}"]),
        f"Notifications  {summary['notifications']:,} told",
        f"CSV            {data_dir / 'exports'}/YYYY-MM-DD/*.csv",
        f'Database       headrace sql{where} "select * from events limit 5"   or   psql "$(headrace db uri{where})"',
        f"Logs           {data_dir / 'logs'}",
    ]


def window_text(failed: Mapping[str, Any]) -> str:
    """A failed window in one line, whatever the fetcher says of it."""
    place = " ".join(str(failed[key]) for key in ("feed", "date", "window") if failed.get(key))
    cause = next((str(failed[key]) for key in ("cause", "error", "reason", "message") if failed.get(key)), "")
    return one_line(f"{place}: {cause}")[:400]


def cause_text(cause: Mapping[str, Any]) -> str:
    said = one_line(cause["message"])[:200]
    return f"{cause['service']}: {cause['records']:,} x {cause['error']}: {said} (for example {cause['example']})"


def _stage(records: int, busy_s: float) -> dict[str, float]:
    return {"records": records, "records_per_s": round(records / busy_s, 1) if busy_s else 0.0}


def _stage_lines(stages: Mapping[str, Mapping[str, float]]) -> list[str]:
    return [
        f"{service:<14} {stage['records']:>10,} records {stage['records_per_s']:>10,.0f} a second"
        for service, stage in stages.items()
    ]


def _trouble(summary: Mapping[str, Any], causes: Sequence[Mapping[str, Any]]) -> list[str]:
    failed = summary["failed_windows"]
    counts = [
        f"{summary[name]:,} {name.replace('_', ' ')}"
        for name in ("dead_letters", "parked", "regressions", "corrections")
    ]
    return [
        f"Trouble        {len(failed):,} failed windows, {', '.join(counts)}",
        *(f"  failed window {window_text(each)}" for each in failed[:20]),
        *(f"  dead letters  {cause_text(each)}" for each in causes),
    ]
