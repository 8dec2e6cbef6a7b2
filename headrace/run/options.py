"""The options of `headrace run`, checked before anything is started."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
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
    """None means not given: the settings file, the environment or the default decide."""

    source: str | None = None
    archive: Path | None = None
    base_url: str | None = None
    from_date: date | None = None
    to_date: date | None = None
    once: bool = False
    clock: VirtualTime | None = None
    replicas: Mapping[str, int] = field(default_factory=dict)
    as_of: datetime | None = None

    def checked(self) -> RunOptions:
        """A copy with the source that an archive implies. Raises ConfigError that names the option."""
        source = "archive" if self.archive is not None and self.source is None else self.source
        if self.archive is not None and not self.archive.is_dir():
            raise ConfigError(f"--archive {self.archive}: there is no such directory")
        if source == "archive" and self.archive is None:
            raise ConfigError("--source archive needs --archive DIR, the recorded documents")
        if self.from_date and self.to_date and self.to_date < self.from_date:
            raise ConfigError(f"--to {self.to_date} is before --from {self.from_date}")
        if self.as_of is not None and source != "archive":
            raise ConfigError(
                "--as-of shows what was known at an instant of an archive: it needs --source archive --archive DIR"
            )
        return replace(self, source=source)


def virtual_time(start: str | None, speed: str | None, epoch_s: float | None, now_s: float) -> VirtualTime | None:
    """The virtual clock, or None: speed `max` is as fast as possible and needs no clock. Raises ConfigError."""
    if start is None:
        if epoch_s is not None or speed not in {None, "max"}:
            raise ConfigError("--clock-speed and --clock-epoch need --clock-start ISO")
        return None
    if speed == "max":
        raise ConfigError("--clock-speed max has no clock: it cannot be combined with --clock-start")
    try:
        at, factor = datetime.fromisoformat(start), float(speed or 1.0)
    except ValueError:
        raise ConfigError(
            f"--clock-start {start} --clock-speed {speed or 1}: expected an ISO time and a number or max"
        ) from None
    if at.tzinfo is None:
        raise ConfigError(f"--clock-start {start}: add the time zone, for example {start}+09:00")
    if not 0 < factor < float("inf"):
        raise ConfigError(f"--clock-speed {speed}: expected a number above 0")
    return VirtualTime(at, factor, now_s if epoch_s is None else epoch_s)


def replica_counts(texts: Sequence[str]) -> dict[str, int]:
    """Parse SERVICE=N. Raises ConfigError that names the option."""
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
