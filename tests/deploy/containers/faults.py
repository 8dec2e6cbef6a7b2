"""Faults of a running installation, and planned changes that must not disturb it."""

from __future__ import annotations

import re
import time
from collections import Counter
from collections.abc import Callable, Mapping

from shared.topics import SERVICES
from tests.deploy.containers.installation import Installation
from tests.deploy.containers.season import Span
from tests.waiting import wait_until

Fault = Callable[[Installation], None]
NEXT = "-next"


def load_with_fault(installation: Installation, span: Span, expected: tuple[int, ...], fault: Fault) -> None:
    """Fetch these days too, and let the fault happen when the first of their events are loaded."""
    installation.backfill(span)
    wait_until(lambda: installation.counts(span)[0] > 0, "the first events")
    before = installation.counts(span)
    fault(installation)
    assert before != expected, "everything was loaded before the fault"
    installation.wait_for_counts(span, expected)


def crash(service: str) -> Fault:
    def fault(installation: Installation) -> None:
        before = installation.restarts()
        installation.crash(service)
        wait_until(lambda: installation.container(service).health == "healthy", f"{service} is healthy")
        # The others wait for it: none ends.
        assert installation.restarts() - before == Counter({service: 1})

    return fault


def restart(service: str) -> Fault:
    def fault(installation: Installation) -> None:
        before = installation.restarts()
        installation.compose("restart", service)
        wait_until(lambda: installation.container(service).health == "healthy", f"{service} is healthy")
        assert installation.restarts() == before

    return fault


def scale(services: Mapping[str, int]) -> Fault:
    """More replicas: each claims a slot of its own, and none ends because of another one."""

    def fault(installation: Installation) -> None:
        before = installation.restarts()
        installation.up(*(option for name, count in services.items() for option in ("--scale", f"{name}={count}")))
        wait_until(lambda: services.items() <= ready_replicas(installation).items(), "ready replicas")
        assert installation.restarts() == before

    return fault


def ready_replicas(installation: Installation) -> Counter[str]:
    """By service: the slots of its ready replicas."""
    slots = {(each["service"], each["replica"]) for each in installation.cli_json("status") if each["ready"]}
    return Counter(service for service, _ in slots)


def upgrade(installation: Installation) -> None:
    """Build the cleaner with another code under another tag, and replace only its container."""
    installation.up()  # one replica of each service
    code = installation.deploy.parent / "services" / "cleaner" / "clean.py"
    code.write_text(code.read_text() + "\n# Another version.\n")
    before = installation.containers()
    cleaner = installation.container("cleaner")
    variables = {"HEADRACE_VERSION": cleaner.image.partition(":")[2] + NEXT}
    started_s = time.monotonic()
    installation.compose("build", "cleaner", variables=variables)
    duration_s = time.monotonic() - started_s
    installation.compose("up", "--detach", "--no-deps", "--wait", "cleaner", variables=variables)
    upgraded = installation.container("cleaner")
    added = added_layers(installation, cleaner.image, upgraded.image)
    mb = sum(added) / 1e6
    installation.figures.add(
        f"cleaner built again after a change of code: {duration_s:.1f} s, {len(added)} new layers of {mb:.1f} MB"
    )
    others = {each.id for each in before} - {cleaner.id}
    assert others <= {each.id for each in installation.containers()}
    assert upgraded.image.endswith(NEXT)
    # Packages have 50 MB.
    assert mb < 10


def added_layers(installation: Installation, before: str, after: str) -> list[int]:
    """The sizes in bytes of the layers that only the second image has."""
    template = "{{.CreatedBy}}\t{{.Size}}\t{{.ID}}"

    def layers(image: str) -> Counter[str]:
        return Counter(installation.engine.docker("history", "--no-trunc", "--format", template, image).splitlines())

    sizes = [line.split("\t")[1] for line in (layers(after) - layers(before)).elements()]
    return [round(_bytes(size)) for size in sizes if size != "0B"]


def _bytes(size: str) -> float:
    match = re.fullmatch(r"([\d.]+)([kMG]?B)", size)
    assert match is not None, size
    return float(match[1]) * {"B": 1, "kB": 1e3, "MB": 1e6, "GB": 1e9}[match[2]]


def stop_and_start(installation: Installation) -> None:
    installation.compose("stop")
    stopped = {each.service: each.exit_code for each in installation.containers(*SERVICES)}
    assert stopped == dict.fromkeys(SERVICES, 0), installation.compose("logs", "--tail", "3")
    installation.compose("start")
    wait_until(lambda: is_healthy(installation), "all containers are healthy")


def down_and_up(installation: Installation) -> None:
    installation.compose("down")
    assert not installation.containers()
    started_s = time.monotonic()
    installation.up()
    installation.figures.add(f"{installation.name}: up --wait after down: {time.monotonic() - started_s:.1f} s")
    assert not installation.restarts()


def is_healthy(installation: Installation) -> bool:
    return all(each.health == "healthy" for each in installation.containers() if each.service != "migrate")
