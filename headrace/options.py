"""What `headrace run` was asked for, checked before anything is started."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from pathlib import Path

from shared.errors import ConfigError
from shared.topics import SERVICES

MOST_REPLICAS = 32
SIMULATOR = "simulator"


@dataclass(frozen=True)
class VirtualTime:
    """now = start + speed x (wall clock - epoch_s), the same for every program of the run."""

    start: datetime
    speed: float
    epoch_s: float


@dataclass(frozen=True)
class RunOptions:
    """None means not given: then the settings file, the environment or the default decide."""

    source: str | None = None
    archive: Path | None = None
    base_url: str | None = None
    from_date: date | None = None
    to_date: date | None = None
    once: bool = False
    clock: VirtualTime | None = None
    replicas: Mapping[str, int] = field(default_factory=dict)
    as_of: datetime | None = None


def run_options(
    source: str | None,
    archive: Path | None,
    base_url: str | None,
    from_text: str | None,
    to_text: str | None,
    once: bool,
    clock_start: str | None,
    clock_speed: str | None,
    clock_epoch: float | None,
    replicas: Sequence[str],
    as_of: str | None,
    now_s: float,
) -> RunOptions:
    """Raises ConfigError that names the option. A clock without an epoch starts at `now_s` (Unix time)."""
    if archive is not None and source is None:
        source = "archive"
    if archive is not None and not archive.is_dir():
        raise ConfigError(f"--archive {archive}: there is no such directory")
    if source == "archive" and archive is None:
        raise ConfigError("--source archive needs --archive DIR, the recorded documents")
    from_date, to_date = day("--from", from_text), day("--to", to_text)
    if from_date and to_date and to_date < from_date:
        raise ConfigError(f"--to {to_date} is before --from {from_date}")
    clock = virtual_time(clock_start, clock_speed, clock_epoch, now_s)
    known = instant("--as-of", as_of)
    if known is not None and source != "archive":
        raise ConfigError("--as-of T shows what of an archive was known at T: it needs --source archive --archive DIR")
    return RunOptions(source, archive, base_url, from_date, to_date, once, clock, replica_counts(replicas), known)


def day(option: str, text: str | None) -> date | None:
    try:
        return None if text is None else date.fromisoformat(text)
    except ValueError:
        raise ConfigError(f"{option} {text}: expected a day as YYYY-MM-DD") from None


def instant(option: str, text: str | None) -> datetime | None:
    try:
        at = None if text is None else datetime.fromisoformat(text)
    except ValueError:
        raise ConfigError(f"{option} {text}: expected an ISO time, for example 2026-01-31T12:00:00+09:00") from None
    if at is not None and at.tzinfo is None:
        raise ConfigError(f"{option} {text}: name the time zone, for example {text}+09:00")
    return at


def virtual_time(start: str | None, speed: str | None, epoch_s: float | None, now_s: float) -> VirtualTime | None:
    """`max` is as fast as it goes, which needs no clock."""
    if start is None:
        if epoch_s is not None or speed not in {None, "max"}:
            raise ConfigError("--clock-speed and --clock-epoch need --clock-start ISO")
        return None
    if speed == "max":
        raise ConfigError("--clock-speed max has no clock: leave --clock-start away")
    try:
        at, factor = datetime.fromisoformat(start), float(speed or 1.0)
    except ValueError:
        raise ConfigError(
            f"--clock-start {start} --clock-speed {speed or 1}: expected an ISO time and a number or max"
        ) from None
    if at.tzinfo is None:
        raise ConfigError(f"--clock-start {start}: name the time zone, for example {start}+09:00")
    if not 0 < factor < float("inf"):
        raise ConfigError(f"--clock-speed {speed}: expected a number above 0")
    return VirtualTime(at, factor, now_s if epoch_s is None else epoch_s)


def replica_counts(texts: Sequence[str]) -> dict[str, int]:
    counts = {}
    for text in texts:
        service, _, number = text.partition("=")
        if service not in SERVICES or not number.isdigit() or not 1 <= int(number) <= MOST_REPLICAS:
            raise ConfigError(
                f"--replicas {text}: expected SERVICE=N with a service of {', '.join(SERVICES)} and N from 1 to"
                f" {MOST_REPLICAS}"
            )
        counts[service] = int(number)
    return counts
