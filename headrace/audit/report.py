"""Formats the result of an audit, as one object for programs and as lines for people."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict
from typing import Any

from headrace.audit.accounting import CLASSES, Fate, Finding, RecordEvidence, count_fates
from headrace.audit.audit_pass import AuditResult
from headrace.audit.window import AuditWindow

# Kinds of findings that can be listed beside the classes of fates.
KINDS = {"twice": "twice", "rows-differ": "rows differ", "holes": "hole", "unarchived": "unarchived"}
LISTS = (*(each.replace(" ", "-") for each in CLASSES), *KINDS)
# The key of the report that counts the findings of a kind.
FINDING_COUNTS = {"missing": "missing"} | {kind: name.replace("-", "_") for name, kind in KINDS.items()}
# The summary shows the most frequent reasons; the lists show all.
MAX_REASONS = 20


def report_of(result: AuditResult, window: AuditWindow) -> dict[str, Any]:
    """The report as a JSON object. `counts` sums to `fetched`; `hops` holds the counts downstream of the rows;
    `missing` and `twice` count the findings of all places."""
    counts = count_fates(entry for _, entry in result.fates.values())
    kinds = Counter(each.kind for each in result.findings)
    return {
        "window": window.as_json(),
        "ok": not result.findings,
        "fetched": counts.fetched,
        "counts": {each.replace(" ", "_"): counts.counts[each] for each in CLASSES},
        "difference": counts.difference,
        "why": {
            name.replace(" ", "_"): dict(reasons.most_common(MAX_REASONS))
            for name, reasons in sorted(counts.why.items())
        },
        "hops": {name: asdict(hop) for name, hop in result.hops.items()},
        "missing": kinds["missing"],
        "missing_between": dict(Counter(each.where for each in result.findings if each.kind == "missing")),
        "twice": kinds["twice"],
        "twice_in": dict(Counter(each.where for each in result.findings if each.kind == "twice")),
        "rows_differ": kinds["rows differ"],
        "holes": kinds["hole"],
        "unarchived": kinds["unarchived"],
        "archive": {"windows": result.windows, "not_followed": result.unfollowed, "removed": result.removed},
    }


def page_of(result: AuditResult, list_: str, page: int, page_size: int) -> dict[str, Any]:
    """One page, from 1, of a class of fates or a kind of findings, in key order."""
    kind = "missing" if list_ == "missing" else KINDS.get(list_)
    if kind is not None:
        items = [_finding_as_json(each) for each in result.findings if each.kind == kind]
    else:
        class_ = list_.replace("-", " ")
        items = [_fate_as_json(evidence, entry) for evidence, entry in result.fates.values() if entry.class_ == class_]
    items.sort(key=lambda each: (each.get("key", ""), each.get("where", ""), str(each)))
    begin = (page - 1) * page_size
    return {
        "class": list_,
        "page": page,
        "page_size": page_size,
        "pages": -(-len(items) // page_size),
        "total": len(items),
        "items": items[begin : begin + page_size],
    }


def _fate_as_json(evidence: RecordEvidence, entry: Fate) -> dict[str, Any]:
    return {"event_id": evidence.event_id, "key": evidence.key, "why": entry.why, "place": entry.place}


def _finding_as_json(finding: Finding) -> dict[str, Any]:
    named: dict[str, Any] = {"subject": finding.subject}
    if finding.kind in {"missing", "twice"}:
        named = {"event_id": finding.subject, "key": finding.key}
    elif finding.kind == "rows differ":
        named = {"key": finding.subject}
    return named | {"where": finding.where, "detail": finding.detail}


def report_lines(report: dict[str, Any]) -> list[str]:
    window = report["window"]
    span = " to ".join(each or "now" for each in (window["from"] or "the beginning", window["to"]))
    counts = report["counts"]
    lines = [f"Fetched        {report['fetched']:,} ({span})"]
    for name, count in counts.items():
        reasons = "; ".join(f"{n:,} {why}" for why, n in report["why"].get(name, {}).items())
        lines.append(f"  {name.replace('_', ' '):<12} {count:,}{f' ({reasons})' if reasons else ''}")
    lines.append(f"  difference   {report['difference']}")
    for name, hop in report["hops"].items():
        parts = ", ".join(f"{count:,} {what.replace('_', ' ')}" for what, count in hop.items() if count)
        lines.append(f"{name:<24} {parts or 'nothing'}")
    for what, where in (("missing", "missing_between"), ("twice", "twice_in")):
        lines += [f"{what.upper():<8} {count:,} {place}" for place, count in report[where].items()]
    if report["rows_differ"]:
        lines.append(f"ROWS     {report['rows_differ']:,} differ from their versions")
    if report["holes"]:
        lines.append(f"HOLES    {report['holes']:,} ranges of offsets are missing from the log")
    if report["unarchived"]:
        lines.append(f"ARCHIVE  {report['unarchived']:,} windows have documents that are not in the archive")
    return [*lines, "No record is missing or duplicated." if report["ok"] else _list_hint(report)]


def _list_hint(report: dict[str, Any]) -> str:
    lists = {"missing": "missing", "twice": "twice", "rows_differ": "rows-differ", "holes": "holes"}
    lists["unarchived"] = "unarchived"
    return "List them with: " + ", ".join(f"--list {name}" for key, name in lists.items() if report[key])
