"""The report about a run of the suite."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from tests.faults.allowance import Allowance
from tests.faults.oracle import Outcome
from tests.faults.recovery import Recoveries, median_and_worst
from tests.faults.schedule import ACCIDENTS, Fault, Schedule


@dataclass
class Report:
    """The report about one schedule. No `problems`: nothing lost, duplicated or reordered, and recovered in time."""

    schedule: Schedule
    recorded: bool
    recoveries: Recoveries = field(default_factory=Recoveries)
    problems: list[str] = field(default_factory=list)
    not_injected: list[str] = field(default_factory=list)
    skipped: int = 0
    deaths: Counter[str] = field(default_factory=Counter)
    outcome: Outcome | None = None
    allowance: Allowance = field(default_factory=Allowance)
    seconds: float = 0.0

    def skip(self, fault: Fault) -> None:
        """All days were fetched before this fault: it would hit nothing. An accident was asked for by its name."""
        if fault.kind in ACCIDENTS.values():
            self.not_injected.append(f"{fault}: all days were fetched before")
        else:
            self.skipped += 1

    def add_problems(self) -> None:
        """Add slow recoveries and faults that were not injected to the problems."""
        self.problems += self.recoveries.problems()
        self.problems += [f"NOT INJECTED: {each}" for each in self.not_injected]

    def lines(self) -> list[str]:
        schedule = self.schedule
        days = f"{schedule.first} and {schedule.days - 1} more days" + ("" if self.recorded else " (SYNTHETIC)")
        verdict = self.problems or ["nothing lost, nothing duplicated, nothing reordered, nothing slow"]
        return [
            f"{schedule.broker}, seed {schedule.seed}, {days}, {schedule.replicas}, {self.seconds:.0f} s",
            *_table(self.recoveries),
            *([f"{self.skipped} faults were skipped, because all days were fetched"] if self.skipped else []),
            *([_amounts(self.outcome, self.deaths)] if self.outcome else []),
            *verdict,
            *([f"run it again with --schedule '{schedule.model_dump_json()}'"] if self.problems else []),
        ]


def _table(recoveries: Recoveries) -> list[str]:
    kinds = sorted({recovery.kind for recovery in recoveries.measured})
    rows = [f"{'fault':<55} {'times':>5} {'median s':>9} {'worst s':>8}"]
    for kind in [*kinds, ""]:
        measured = [recovery for recovery in recoveries.measured if kind in {"", recovery.kind}]
        rows.append(_row(kind or "all", len(measured), *median_and_worst(measured)))
    return rows


def _row(kind: str, times: int, median_s: float, worst_s: float) -> str:
    return f"{kind:<55} {times:>5} {median_s:>9.2f} {worst_s:>8.2f}"


def _amounts(outcome: Outcome, deaths: Counter[str]) -> str:
    topics = ", ".join(f"{len(entries)} in {topic}" for topic, entries in outcome.topics.items() if entries)
    rows = sum(len(rows) for rows in outcome.tables.values())
    states = Counter(each.state for each in outcome.ledger.values())
    notifications = ", ".join(f"{count} {state}" for state, count in sorted(states.items()))
    return f"records: {topics}; rows of views: {rows}; notifications: {notifications or 'none'}; deaths: {dict(deaths)}"


def summary(reports: Sequence[Report]) -> str:
    failed = [f"{report.schedule.broker}/{report.schedule.seed}" for report in reports if report.problems]
    return f"FAILED: {', '.join(failed)}" if failed else f"passed: {len(reports)} schedules"
