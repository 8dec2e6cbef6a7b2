"""python -m simulator: serves a synthetic season over HTTP until SIGTERM or SIGINT.

With --rate it is a load generator: it publishes the season's documents at that rate and reports what was fetched.
With --recorded it serves a recorded live day instead of a season. With --hostile it attacks its client.
With --discord it simulates Discord instead (simulator/discord).
"""

from __future__ import annotations

import argparse
import signal
import sys
import threading
import time
from datetime import UTC, date, datetime
from datetime import time as time_of_day
from pathlib import Path

from shared.clock import Clock, SystemClock, VirtualClock
from simulator.discord import program as discord
from simulator.hostile.options import add_hostile_options, mix_of
from simulator.load import Load, LoadPlan, report_line
from simulator.publisher import Publisher
from simulator.rates import AnomalyRates
from simulator.recorded import RecordedDay
from simulator.season import SeasonPlan, SimulatedSeason, spread_venues
from simulator.server import FailureInjection, Pages, SimulatorServer
from simulator.stages import PublicationSchedule
from simulator.versions import race_day

CLOCK_OPTIONS = ("clock_start", "clock_speed", "clock_epoch")


def arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        "headrace simulate", description="A synthetic source with known true probabilities, or a recorded day."
    )
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: loopback only)")
    parser.add_argument("--port", type=int, default=0, help="0 picks a free port")
    parser.add_argument(
        "--discord", action="store_true", help="simulate Discord instead; `--discord --help` lists its options"
    )
    parser.add_argument("--port-file", type=Path, help="file to write the URL to once the server listens")
    parser.add_argument(
        "--recorded",
        type=Path,
        metavar="DIR",
        help="serve the recorded live day in DIR, at the times of its manifest.json, instead of a season",
    )
    add_season_options(parser)
    add_clock_options(parser)
    add_hostile_options(parser)
    return parser


def add_season_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument(
        "--from", dest="first_date", type=date.fromisoformat, default=date(2026, 1, 1), metavar="DATE", help="first day"
    )
    parser.add_argument("--days", type=int, default=61, help="length of the season (default: %(default)s)")
    parser.add_argument(
        "--venues",
        "--sources",
        type=int,
        default=4,
        metavar="N",
        help="number of stadiums with races every day, 1 to 24. --sources is the same: a fetcher has one source, so N"
        " sources of events are N venues in its documents",
    )
    parser.add_argument(
        "--rate",
        type=float,
        metavar="R",
        help="publish R documents per second, each with N x races events, and report what was fetched: a load for a"
        " fetcher of past days (docs/scaling.md)",
    )
    parser.add_argument(
        "--report-every", type=float, default=10.0, metavar="S", help="seconds between reports of a load"
    )
    parser.add_argument("--races", type=int, default=12, help="races per venue and day")
    parser.add_argument("--first-deadline", type=minutes, default=10 * 60 + 30, metavar="HH:MM", help="JST")
    parser.add_argument("--last-deadline", type=minutes, default=16 * 60 + 30, metavar="HH:MM", help="JST")
    parser.add_argument("--publish-every", type=int, default=5, metavar="MIN", help="virtual minutes per publication")
    parser.add_argument("--preview-share", type=float, default=0.9, help="share of races observed before the deadline")
    parser.add_argument("--blank-at", type=minutes, default=4 * 60 + 2, metavar="HH:MM", help="JST; cards become blank")
    parser.add_argument("--oddness", type=float, default=1.0, help="factor on the real rates of anomalies")
    parser.add_argument("--fail-rate", type=float, default=0.02, help="share of requests answered with status 503")


def add_clock_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--clock-start", type=datetime.fromisoformat, metavar="ISO", help="virtual time at the epoch")
    parser.add_argument("--clock-speed", type=float, metavar="N", help="virtual seconds per second")
    parser.add_argument("--clock-epoch", type=float, metavar="UNIX_S", help="Unix time of --clock-start")


def minutes(text: str) -> int:
    """Minutes from midnight of a time HH:MM."""
    at = time_of_day.fromisoformat(text)
    return 60 * at.hour + at.minute


def clock_of(options: argparse.Namespace) -> Clock:
    """The machine's clock, or with all three clock options a virtual one. Raises ValueError if only some are given."""
    is_given = [getattr(options, name) is not None for name in CLOCK_OPTIONS]
    if not any(is_given):
        return SystemClock()
    if not all(is_given):
        raise ValueError("--clock-start, --clock-speed and --clock-epoch must be given together")
    if options.clock_start.tzinfo is None:
        raise ValueError("--clock-start needs a time zone, for example 2026-03-01T00:00:00+09:00")
    return VirtualClock(options.clock_start.astimezone(UTC), options.clock_speed, options.clock_epoch)


def season_plan(options: argparse.Namespace) -> SeasonPlan:
    return SeasonPlan(
        seed=options.seed,
        first_date=options.first_date,
        days=options.days,
        venues=spread_venues(options.venues),
        races_per_venue=options.races,
        first_deadline_min=options.first_deadline,
        last_deadline_min=options.last_deadline,
        rates=AnomalyRates().multiplied_by(options.oddness),
    )


def load_of(options: argparse.Namespace, season: SeasonPlan, clock: Clock) -> Load | None:
    """The load of --rate. Raises ValueError if the season is not over, because a fetcher requests only past days."""
    if options.rate is None:
        return None
    if options.clock_speed is not None:
        raise ValueError("--rate is in real time: with a virtual clock, --clock-speed determines the rate")
    if options.report_every <= 0:
        raise ValueError(f"expected more than 0 seconds between reports, got {options.report_every:g}")
    if season.last_date >= race_day(clock.now()):
        raise ValueError(f"--rate needs past days: the season ends on {season.last_date}; use an earlier --from")
    return Load(
        LoadPlan(season.first_date, season.days, options.rate, len(season.venues) * season.races_per_venue),
        time.monotonic,
    )


def pages_of(options: argparse.Namespace, season: SeasonPlan) -> Pages:
    if options.recorded is not None:
        if options.rate is not None:
            raise ValueError("--rate publishes a season: it cannot be given with --recorded")
        return RecordedDay(options.recorded)
    pace = PublicationSchedule(options.publish_every, options.preview_share, blank_at_min=options.blank_at)
    return Publisher(SimulatedSeason(season), pace)


def server_of(options: argparse.Namespace, pages: Pages, clock: Clock, load: Load | None) -> SimulatorServer:
    failing = FailureInjection(options.fail_rate, options.seed)
    attacks = mix_of(options, time.monotonic)
    try:
        return SimulatorServer((options.host, options.port), pages, clock, failing, load, attacks=attacks)
    except OSError as error:
        where = f"port {options.port} of {options.host}"
        raise ValueError(f"cannot listen on {where} ({error.strerror}); use --port 0 to pick a free port") from error


def announce(url: str, port_file: Path | None) -> None:
    if port_file is not None:
        partial = port_file.with_name(port_file.name + ".partial")
        partial.write_text(url + "\n")
        partial.replace(port_file)
    print(f"simulator: {url}", flush=True)


def report(server: SimulatorServer, load: Load, every_s: float, stop: threading.Event) -> None:
    """Print a line every `every_s` seconds, and one about the whole load when it is complete or stopped."""
    before = server.load_reading()
    while not stop.wait(every_s):
        now = server.load_reading()
        print(report_line(load.plan, before, now), flush=True)
        if now.fetched == load.plan.documents:
            print(f"complete {report_line(load.plan, load.begin(), now)}", flush=True)
            stop.wait()
            return
        before = now
    print(f"stopped {report_line(load.plan, load.begin(), server.load_reading())}", flush=True)


def announce_load(season: SeasonPlan) -> None:
    print(
        "load: set fetcher.source to simulator, fetcher.base_url to the address of this program, fetcher.from to"
        f" {season.first_date} and fetcher.to to {season.last_date}; the load begins with the first request",
        flush=True,
    )


def announce_recorded_day(recorded: RecordedDay, clock: Clock) -> None:
    """Print when the day was published and, if it is not being published now, how to replay it."""
    first, last = recorded.published
    print(f"recorded: published from {first:%Y-%m-%dT%H:%M:%SZ} to {last:%Y-%m-%dT%H:%M:%SZ}", flush=True)
    if clock.now() > last:
        print(
            f"recorded: it is {clock.now():%Y-%m-%dT%H:%MZ}, so only the final versions are served; to replay the day,"
            f" add --clock-start {first:%Y-%m-%dT%H:%M:%SZ} --clock-speed 60 --clock-epoch $(date +%s), and give the"
            " fetcher the same clock (docs/adding-a-source.md)",
            flush=True,
        )


def main() -> int:
    if "--discord" in sys.argv[1:]:
        return discord.run(sys.argv[1:])
    options = arguments().parse_args()
    try:
        clock, season = clock_of(options), season_plan(options)
        load = load_of(options, season, clock)
        pages = pages_of(options, season)
        server = server_of(options, pages, clock, load)
    except ValueError as error:
        print(f"simulator: {error}", file=sys.stderr)
        return 2
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    with server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        announce(server.url, options.port_file)
        if isinstance(pages, RecordedDay):
            announce_recorded_day(pages, clock)
        if load is None:
            stop.wait()
        else:
            announce_load(season)
            report(server, load, options.report_every, stop)
        server.shutdown()
    return 0


if __name__ == "__main__":
    sys.exit(main())
