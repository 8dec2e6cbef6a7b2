"""The command `headrace run`."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from headrace.run.demonstration import demonstrate
from headrace.run.options import SIMULATOR, RunOptions, VirtualTime, replica_counts, virtual_time
from headrace.run.run import is_demonstration
from headrace.run.run import run as run_pipeline
from headrace.run.run_environment import RunEnvironment, prepared_environment
from headrace.terminal.arguments import BrokerOptions, grouped_options
from headrace.terminal.days import parse_day, parse_time
from headrace.terminal.extras import require_extras
from headrace.terminal.output import print_json, stderr, stdout


@dataclass(frozen=True)
class ClockOptions:
    """The virtual clock of a run."""

    clock_start: Annotated[
        str | None, typer.Option(metavar="ISO", help="Use a virtual clock that shows this time at first.")
    ] = None
    clock_speed: Annotated[str | None, typer.Option(metavar="N|max", help="Virtual seconds per second.")] = None
    clock_epoch: Annotated[
        float | None, typer.Option(metavar="UNIX_S", help="Real time at which the virtual clock starts. [default: now]")
    ] = None

    def virtual_time(self) -> VirtualTime | None:
        """Raises ConfigError that names the option."""
        return virtual_time(self.clock_start, self.clock_speed, self.clock_epoch, time.time())


@grouped_options
def run(
    *,
    source: Annotated[
        str | None,
        typer.Option(metavar="simulator|boatrace|archive|FILE.yaml", help="The source. [default: simulator]"),
    ] = None,
    archive: Annotated[Path | None, typer.Option(metavar="DIR", help="Folder of recorded documents to replay.")] = None,
    base_url: Annotated[str | None, typer.Option(metavar="URL", help="Base URL of the source.")] = None,
    from_day: Annotated[str | None, typer.Option("--from", metavar="D", help="First day, YYYY-MM-DD.")] = None,
    to_day: Annotated[str | None, typer.Option("--to", metavar="D", help="Last day, inclusive.")] = None,
    once: Annotated[bool, typer.Option("--once", help="Exit when the days have passed all stages.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Print the summary as JSON, on the last line.")] = False,
    broker_options: BrokerOptions,
    clock: ClockOptions,
    replicas: Annotated[
        list[str] | None, typer.Option(metavar="SERVICE=N", help="Processes of a service; may be repeated.")
    ] = None,
    as_of: Annotated[
        str | None,
        typer.Option(metavar="ISO", help="With an archive: load only what was known then. Needs its own --data-dir."),
    ] = None,
) -> None:
    """Run the whole pipeline on this machine: database and services. Without options, run a demonstration.

    Exit codes: 0 success; 1 failure; 2 wrong options or settings; 130 stopped by Ctrl-C, 143 by SIGTERM.
    """
    requested_options = RunOptions(
        source,
        archive,
        base_url,
        from_date=None if from_day is None else parse_day("--from", from_day),
        to_date=None if to_day is None else parse_day("--to", to_day),
        once=once,
        clock=clock.virtual_time(),
        replicas=replica_counts(replicas or []),
        as_of=None if as_of is None else parse_time("--as-of", as_of),
    ).checked()
    require_extras("headrace run", "fetcher", "predictor", "notifier")
    screen = stderr()
    settings = broker_options.settings
    screen.print(f"starting in {settings.data_dir}", markup=False, soft_wrap=True)
    with prepared_environment(settings, broker_options.config, screen) as environment:
        summary, lines = _run(environment, environment.effective(requested_options))
    if json:
        print_json(summary)
    else:
        stdout().print("\n".join(lines), markup=False)


def _run(environment: RunEnvironment, options: RunOptions) -> tuple[dict[str, Any], list[str]]:
    """The summary, as an object and as lines. Raises ConfigError if the packages of the simulator are not installed."""
    if options.source == SIMULATOR and options.base_url is None:
        require_extras("the simulator", "simulator")
    return demonstrate(environment, options) if is_demonstration(options) else run_pipeline(environment, options)
