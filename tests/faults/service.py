"""Runs a real service with wrapped producers: they wait for permits, die at named points, or make broken
units on request.

    python -m tests.faults.service NAME

In the directory FAULTS_DIR, `kill-points/NAME-SLOT` arms a point, and `permits` the fetcher's permits.
FAULTS_BROKEN names a kind of broken unit (tests/faults/broken.py). The services themselves contain no hooks for this.
"""

from __future__ import annotations

import os
import sys
from importlib import import_module
from pathlib import Path

from headrace.run.programs import MODELS
from shared.broker.connect import connect
from shared.broker.contract import Broker, Producer
from shared.runtime.process.run import launch
from shared.runtime.service import service_starter
from shared.settings.sections import ServiceSettings, Settings
from tests.faults.accidents.jumping_clock import CLOCK_FILE, InjectedClockSettings
from tests.faults.broken import BrokenProducer
from tests.faults.points import KillPoints, ProducerBroker, ProducerWithKillPoints
from tests.faults.supply import Permits


def kill_point_file(directory: Path, replica: str) -> Path:
    return directory / "kill-points" / replica


def permits_of(directory: Path) -> Permits:
    return Permits(directory / "permits")


def main(name: str) -> int:
    model = next(model for model in MODELS if model.name == name)
    directory, broken = Path(os.environ["FAULTS_DIR"]), os.environ.get("FAULTS_BROKEN")

    def mined(settings: Settings, conninfo: str) -> Broker:
        kill_points = KillPoints(kill_point_file(directory, f"{name}-{settings.service.slot}"))
        permits = permits_of(directory) if name == "fetcher" else None

        def producer(broker: Broker, slot: str, in_database: bool) -> Producer:
            def make(name: str) -> Producer:
                return broker.producer(name, in_database=in_database)

            return ProducerWithKillPoints(
                BrokenProducer(make, slot, broken, kill_points) if broken else make(slot), kill_points, permits
            )

        return ProducerBroker(connect(settings, conninfo), producer)

    module = import_module(f"services.{name}.__main__")
    start = service_starter(module.wire, mined)
    return launch(
        model, lambda settings: start(with_injected_clock(settings) if CLOCK_FILE in os.environ else settings)
    )


def with_injected_clock(settings: ServiceSettings) -> ServiceSettings:
    return settings.model_copy(update={"clock": InjectedClockSettings.model_validate(settings.clock.model_dump())})


if __name__ == "__main__":
    service = sys.argv.pop(1)  # the service reads the rest of its command line itself
    sys.exit(main(service))
