"""headrace replay."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import timedelta
from typing import Annotated, Any

import typer

from headrace.remote.asking import Asking
from headrace.remote.services import ACCEPTED, ServiceArgument, ServiceName, WaitOption, conclude
from headrace.terminal.arguments import Output, grouped_options
from headrace.terminal.days import day, day_text
from headrace.terminal.output import give, stdout
from shared.errors import ConfigError
from shared.topics import RAW

_OFFSETS = re.compile(r"(\d+):(\d*)-(\d*)")
_DAY = re.compile(r"\d{4}-\d{2}-\d{2}")


@dataclass(frozen=True)
class ReplayOptions:
    """What is to be replayed, and how."""

    topic: Annotated[str | None, typer.Argument(metavar="[TOPIC]", help="What it reads, to be read once more.")] = None
    since: Annotated[
        str | None, typer.Option("--from", metavar="ISO", help="Not before this instant (a day: its midnight UTC).")
    ] = None
    until: Annotated[
        str | None, typer.Option("--to", metavar="ISO", help="Before this instant (a day: to its end).")
    ] = None
    offsets: Annotated[
        list[str] | None,
        typer.Option(metavar="P:BEGIN-END", help="Offsets of a partition, END not among them; may be repeated."),
    ] = None
    event_time: Annotated[
        bool, typer.Option("--event-time", help="--from and --to are about when events start, not when records came.")
    ] = False
    key: Annotated[
        list[str] | None, typer.Option(metavar="PATTERN", help="boatrace:2026-01-31:* and the like; may be repeated.")
    ] = None
    kind: Annotated[
        list[str] | None, typer.Option(metavar="K", help="listed, observed ...; of raw-events, a feed.")
    ] = None
    rate: Annotated[float | None, typer.Option(metavar="N", help="At most so many records a second.")] = None
    notify: Annotated[bool, typer.Option("--notify", help="Tell people, too, what comes of it.")] = False
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would be replayed.")] = False
    plan: Annotated[str | None, typer.Option(metavar="ID", help="Execute exactly this dry run's plan.")] = None
    again: Annotated[bool, typer.Option("--again", help="Also a plan that was executed before.")] = False
    from_archive: Annotated[bool, typer.Option("--from-archive", help="From the fetcher's raw documents, by days.")] = (
        False
    )

    def request(self) -> dict[str, Any]:
        """Raises ConfigError for options that do not go together."""
        if self.from_archive:
            body = self._of_archive()
        else:
            body = self._of_topic() if self.plan is None else self._of_plan(self.plan)
        if self.plan is None:
            body |= {"rate": self.rate, "notify": self.notify, "dry_run": self.dry_run}
        elif self.dry_run or self.rate or self.notify:
            raise ConfigError("--plan is executed as it is: leave --dry-run, --rate and --notify away")
        return {name: value for name, value in body.items() if value not in (None, False, [], {})}

    def _of_plan(self, plan: str) -> dict[str, Any]:
        if self.since or self.until or self.offsets or self.key or self.kind:
            raise ConfigError("--plan is executed as it is: leave windows, keys and kinds away")
        return {"plan_id": plan, "again": self.again}

    def _of_topic(self) -> dict[str, Any]:
        if self.topic is None:
            raise ConfigError("which topic? For example: headrace replay cleaner raw-events --dry-run")
        return {
            "topic": self.topic,
            "from": _instant(self.since),
            "to": _instant(self.until, days=1),
            "offsets": spans(self.offsets or []),
            "keys": self.key,
            "kinds": self.kind,
            "time": "event" if self.event_time else None,
        }

    def _of_archive(self) -> dict[str, Any]:
        if self.topic not in {None, RAW} or self.offsets or self.event_time or self.plan is not None:
            raise ConfigError(
                "--from-archive takes days (--from, --to), --key and --kind (feeds), and no offsets or plan"
            )
        first, last = day_text("--from", self.since), day_text("--to", self.until)
        return {"from": first, "to": last, "keys": self.key, "feeds": self.kind}


@grouped_options
def replay(asking: Asking, service: ServiceArgument, options: ReplayOptions, wait: WaitOption = False) -> None:
    """Handle records of a topic once more, beside the live work: all of it, or a window, keys, kinds.

    What comes of it replaces what is there where it says something else. Look with --dry-run first, then execute the
    plan: --plan ID. It goes on whatever becomes of this command; `headrace operations` follows, pauses and cancels it.
    """
    request = options.request()
    with asking.api(ServiceName.FETCHER.value if options.from_archive else service.value) as asked:
        answer = asked.post("/replays", request)
        if answer.status == ACCEPTED:
            conclude(asked, answer, wait, asking.output)
        else:
            show_plan(answer.body, asking.output)


def spans(texts: list[str]) -> dict[str, dict[str, int]]:
    """`0:100-200` and the like; an end that is left away is open. Raises ConfigError."""
    found = {}
    for text in texts:
        match = _OFFSETS.fullmatch(text)
        if match is None or not (match[2] or match[3]):
            raise ConfigError(f"--offsets {text}: expected PARTITION:BEGIN-END, for example 0:100-200")
        ends = {"begin": match[2], "end": match[3]}
        found[match[1]] = {name: int(value) for name, value in ends.items() if value}
    return found


def _instant(text: str | None, days: int = 0) -> str | None:
    """A day as an instant: its midnight UTC, so many days later."""
    if text is None or not _DAY.fullmatch(text):
        return text
    return f"{day('a day', text) + timedelta(days=days)}T00:00:00Z"


def show_plan(plan: dict[str, Any], output: Output) -> None:
    """What a dry run found."""
    if "partitions" in plan:
        give(output, plan, ("partition", "begin", "end", "records"), plan["partitions"], "no partition")
    else:
        said = [("windows", len(plan["windows"])), ("documents", plan["lines"]), ("records", plan["selected"])]
        give(output, plan, ("from the archive", "count"), said, "nothing")
    if output is Output.TABLE and plan.get("plan_id"):
        stdout().print(f"{plan['records']:,} records of {plan['topic']}; execute it with --plan {int(plan['plan_id'])}")
