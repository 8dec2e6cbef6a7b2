"""The command `headrace replay`."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import timedelta
from typing import Annotated, Any

import typer

from headrace.remote.asking import ApiOptions
from headrace.remote.services import ACCEPTED, ServiceArgument, ServiceName, WaitOption, print_operation
from headrace.terminal.arguments import Output, grouped_options
from headrace.terminal.days import parse_day, validated_day
from headrace.terminal.output import print_answer, stdout
from shared.errors import ConfigError
from shared.topics import RAW, READS

_OFFSETS = re.compile(r"(\d+):(\d*)-(\d*)")
_DAY = re.compile(r"\d{4}-\d{2}-\d{2}")


def complete_input_topic(context: typer.Context, incomplete: str) -> list[str]:
    """The topics that the service on the command line reads, for the completion of a shell."""
    topics = READS.get(context.params.get("service", ""), ())
    return [topic for topic in topics if topic.startswith(incomplete)]


@dataclass(frozen=True)
class ReplayOptions:
    """Selects the records to replay, and how to replay them."""

    topic: Annotated[
        str | None,
        typer.Argument(metavar="[TOPIC]", help="A topic that the service reads.", autocompletion=complete_input_topic),
    ] = None
    since: Annotated[
        str | None, typer.Option("--from", metavar="ISO", help="From this time (a day: from its midnight UTC).")
    ] = None
    until: Annotated[
        str | None, typer.Option("--to", metavar="ISO", help="Until this time, exclusive (a day: inclusive, in UTC).")
    ] = None
    offsets: Annotated[
        list[str] | None,
        typer.Option(metavar="P:BEGIN-END", help="Offsets of a partition, END exclusive; may be repeated."),
    ] = None
    event_time: Annotated[
        bool, typer.Option("--event-time", help="Compare --from and --to with event starts, not with record times.")
    ] = False
    key: Annotated[
        list[str] | None, typer.Option(metavar="PATTERN", help="Such as boatrace:2026-01-31:*; may be repeated.")
    ] = None
    kind: Annotated[
        list[str] | None, typer.Option(metavar="K", help="listed, observed ...; for raw-events, a feed.")
    ] = None
    rate: Annotated[float | None, typer.Option(metavar="N", help="Maximum records per second.")] = None
    notify: Annotated[bool, typer.Option("--notify", help="Also send notifications about the results.")] = False
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only print what would be replayed.")] = False
    plan: Annotated[str | None, typer.Option(metavar="ID", help="Execute exactly the plan of this dry run.")] = None
    again: Annotated[bool, typer.Option("--again", help="Also execute a plan that was executed before.")] = False
    from_archive: Annotated[
        bool, typer.Option("--from-archive", help="Replay days from the fetcher's archive of raw documents.")
    ] = False

    def request(self) -> dict[str, Any]:
        """The body of POST /replays. Raises ConfigError for options that conflict."""
        if self.from_archive:
            body = self._archive_request()
        else:
            body = self._topic_request() if self.plan is None else self._plan_request(self.plan)
        if self.plan is None:
            body |= {"rate": self.rate, "notify": self.notify, "dry_run": self.dry_run}
        elif self.dry_run or self.rate or self.notify:
            raise ConfigError("--plan is executed as it is: leave out --dry-run, --rate and --notify")
        return {name: value for name, value in body.items() if value not in (None, False, [], {})}

    def _plan_request(self, plan: str) -> dict[str, Any]:
        if self.since or self.until or self.offsets or self.key or self.kind:
            raise ConfigError("--plan is executed as it is: leave out --from, --to, --offsets, --key and --kind")
        return {"plan_id": plan, "again": self.again}

    def _topic_request(self) -> dict[str, Any]:
        if self.topic is None:
            raise ConfigError("which topic? For example: headrace replay cleaner raw-events --dry-run")
        return {
            "topic": self.topic,
            "from": _start_of_day(self.since),
            "to": _start_of_day(self.until, days=1),
            "offsets": parse_offsets(self.offsets or []),
            "keys": self.key,
            "kinds": self.kind,
            "time": "event" if self.event_time else None,
        }

    def _archive_request(self) -> dict[str, Any]:
        if self.topic not in {None, RAW} or self.offsets or self.event_time or self.plan is not None:
            raise ConfigError(
                "--from-archive accepts days (--from, --to), --key and --kind (feeds), and no other topic, --offsets,"
                " --event-time or --plan"
            )
        first, last = validated_day("--from", self.since), validated_day("--to", self.until)
        return {"from": first, "to": last, "keys": self.key, "feeds": self.kind}


@grouped_options
def replay(api_options: ApiOptions, service: ServiceArgument, options: ReplayOptions, wait: WaitOption = False) -> None:
    """Process records of a topic again, beside the live work: the whole topic, or a window, keys or kinds.

    Results that differ replace the existing ones. Start with --dry-run, then execute its plan with --plan ID. The
    replay continues if this command is interrupted; `headrace operations` follows, pauses and cancels it.
    """
    request = options.request()
    with api_options.open_api(ServiceName.FETCHER.value if options.from_archive else service.value) as client:
        answer = client.post("/replays", request)
        if answer.status == ACCEPTED:
            print_operation(client, answer, wait, api_options.output)
        else:
            print_plan(answer.body, api_options.output)


def parse_offsets(texts: list[str]) -> dict[str, dict[str, int]]:
    """Offset ranges by partition, from texts such as `0:100-200`. A missing bound is open. Raises ConfigError."""
    ranges = {}
    for text in texts:
        match = _OFFSETS.fullmatch(text)
        if match is None or not (match[2] or match[3]):
            raise ConfigError(f"--offsets {text}: expected PARTITION:BEGIN-END, for example 0:100-200")
        ends = {"begin": match[2], "end": match[3]}
        ranges[match[1]] = {name: int(value) for name, value in ends.items() if value}
    return ranges


def _start_of_day(text: str | None, days: int = 0) -> str | None:
    """A day as its midnight UTC, `days` days later; any other text unchanged."""
    if text is None or not _DAY.fullmatch(text):
        return text
    return f"{parse_day('a day', text) + timedelta(days=days)}T00:00:00Z"


def print_plan(plan: dict[str, Any], output: Output) -> None:
    """Print the plan of a dry run."""
    if "partitions" in plan:
        print_answer(output, plan, ("partition", "begin", "end", "records"), plan["partitions"], "no partition")
    else:
        counts = [("windows", len(plan["windows"])), ("documents", plan["lines"]), ("records", plan["selected"])]
        print_answer(output, plan, ("from the archive", "count"), counts, "nothing")
    if output is Output.TABLE and plan.get("plan_id"):
        stdout().print(f"{plan['records']:,} records of {plan['topic']}; execute it with --plan {int(plan['plan_id'])}")
