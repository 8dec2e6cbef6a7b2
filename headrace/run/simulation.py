"""The simulator as a program of a run: its season, its port and its clock."""

from __future__ import annotations

import socket
from dataclasses import dataclass
from datetime import date, timedelta

from headrace.database.data_dir import DataDir
from headrace.processes.supervisor import Program
from headrace.run.options import VirtualTime
from headrace.run.programs import common_environment, python

SEASON_START = date(2026, 1, 1)
BACKFILL_DAYS = 60
# Each day is generated when it is requested, so a long season costs nothing.
SEASON_DAYS = 3650
SEED = 7
VENUES = 4


@dataclass(frozen=True)
class Simulation:
    """The address of a simulator. The port is chosen before its start, so that a restart keeps it."""

    port: int
    first_date: date = SEASON_START

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def listens(self) -> bool:
        with socket.socket() as probe:
            probe.settimeout(1.0)
            return probe.connect_ex(("127.0.0.1", self.port)) == 0


def season_end() -> date:
    """The last day of history that a demonstration loads."""
    return SEASON_START + timedelta(days=BACKFILL_DAYS - 1)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


def simulator_program(simulation: Simulation, data_dir: DataDir, clock: VirtualTime | None) -> Program:
    command = python(
        "-m",
        "headrace",
        "simulate",
        "--port",
        str(simulation.port),
        "--seed",
        str(SEED),
        "--from",
        simulation.first_date.isoformat(),
        "--days",
        str(SEASON_DAYS),
        "--venues",
        str(VENUES),
    )
    if clock is not None:
        command += (
            "--clock-start",
            clock.start.isoformat(),
            "--clock-speed",
            repr(clock.speed),
            "--clock-epoch",
            repr(clock.epoch_s),
        )
    return Program("simulator", command, data_dir.log("simulator"), common_environment(data_dir))
