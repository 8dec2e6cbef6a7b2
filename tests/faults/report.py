"""What a run of the suite says in the end."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field

from tests.faults.oracle import Outcome
from tests.faults.recovery import Recoveries, median_and_worst
from tests.faults.schedule import Schedule


@dataclass
class Report:
    """One schedule's. `problems` empty means: nothing lost, nothing twice, nothing reordered, and back in time."""

    schedule: Schedule
    recorded: bool
    recoveries: Recoveries = field(default_factory=Recoveries)
    problems: list[str] = field(default_factory=list)
    not_injected: list[str] = field(default_factory=list)
    left_out: int = 0
    deaths: Counter[str] = field(default_factory=Counter)
    outcome: Outcome | None = None
    seconds: float = 0.0

    def judge(self) -> None:
        """What is too slow, and what was never tried, is a problem too."""
        self.problems += self.recoveries.problems()
        self.problems += [f"NOT INJECTED: {each}" for each in self.not_injected]

    def lines(self) -> list[str]:
        schedule = self.schedule
        days = f"{schedule.first} and {schedule.days - 1} more days" + ("" if self.recorded else " (MADE UP)")
        wrong = self.problems or ["nothing lost, nothing twice, nothing reordered, nothing slow"]
        return [
            f"{schedule.broker}, seed {schedule.seed}, {days}, {schedule.replicas}, {self.seconds:.0f} s",
            *_table(self.recoveries),
            *([f"{self.left_out} faults were left out: the days were over"] if self.left_out else []),
            *([_amounts(self.outcome, self.deaths)] if self.outcome else []),
            *wrong,
            *([f"run it again with --schedule '{schedule.model_dump_json()}'"] if self.problems else []),
        ]


def _table(recoveries: Recoveries) -> list[str]:
    kinds = sorted({took.kind for took in recoveries.taken})
    rows = [f"{'fault':<55} {'times':>5} {'median s':>9} {'worst s':>8}"]
    for kind in [*kinds, ""]:
        taken = [took for took in recoveries.taken if kind in {"", took.kind}]
        rows.append(_row(kind or "all", len(taken), *median_and_worst(taken)))
    return rows


def _row(kind: str, times: int, median_s: float, worst_s: float) -> str:
    return f"{kind:<55} {times:>5} {median_s:>9.2f} {worst_s:>8.2f}"


def _amounts(outcome: Outcome, deaths: Counter[str]) -> str:
    topics = ", ".join(f"{len(entries)} in {topic}" for topic, entries in outcome.topics.items() if entries)
    rows = sum(len(rows) for rows in outcome.tables.values())
    states = Counter(state for state, _ in outcome.ledger.values())
    notes = ", ".join(f"{count} {state}" for state, count in sorted(states.items()))
    return f"records: {topics}; rows of views: {rows}; notifications: {notes or 'none'}; deaths: {dict(deaths)}"


def summary(reports: Sequence[Report]) -> str:
    failed = [f"{report.schedule.broker}/{report.schedule.seed}" for report in reports if report.problems]
    return f"FAILED: {', '.join(failed)}" if failed else f"passed: {len(reports)} schedules"
