"""The services of a run: their replicas, and the environment variables that faults need."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from headrace.database.embedded import DATABASE
from headrace.processes.supervisor import Program
from headrace.run.programs import python
from tests.faults.schedule import EMBEDDED, Kind

# In a run with a slow database.
STATEMENT_LIMIT_S, BATCH_LIMIT_S = 3.0, 9.0
# Low thresholds, so that there are enough notifications.
NOTIFIER = {"CHANNELS": "webhook", "BIG_AMOUNT": "30000", "TIP_PROBABILITY": "0.3"}


@dataclass(frozen=True)
class Plan:
    """How a world is set up. `wrapped`: services that run under tests/faults/service.py; `broken`: a service and the
    kind of its broken units; `claims_slots`: the replicas claim their slots; otherwise their settings name them;
    `kinds`: the kinds of faults that it must allow."""

    archive: Path
    replicas: Mapping[str, int]
    wrapped: frozenset[str] = frozenset()
    broken: tuple[str, str] | None = None
    broker: str = EMBEDDED
    proxied: bool = True
    claims_slots: bool = False
    kinds: frozenset[Kind] = frozenset()


@dataclass(frozen=True)
class Surroundings:
    """Where the services find what the suite has made. `ports`: of the proxies; `webhook`: a file with the address of
    the receiver; `clock`: variables that make the clock jump."""

    control_dir: Path
    ports: Mapping[str, int]
    webhook: Path
    clock: Mapping[str, str] = field(default_factory=dict)


def faulty_program(program: Program, plan: Plan, surroundings: Surroundings) -> Program:
    """A service's program as the plan wants it."""
    service = program.name.partition("-")[0]
    environment = {**program.environment, **_environment(service, surroundings), **surroundings.clock}
    if plan.claims_slots:
        del environment["HEADRACE_SERVICE__SLOT"]
    if Kind.SLOW in plan.kinds:
        environment["HEADRACE_DATABASE__STATEMENT_TIMEOUT_S"] = str(STATEMENT_LIMIT_S)
        environment["HEADRACE_DATABASE__BATCH_TIMEOUT_S"] = str(BATCH_LIMIT_S)
    command = program.command
    if service in plan.wrapped:
        command = python("-m", "tests.faults.service", service)
        environment["FAULTS_DIR"] = str(surroundings.control_dir)
    if plan.broken and plan.broken[0] == service:
        environment["FAULTS_BROKEN"] = plan.broken[1]
    return replace(program, command=command, environment=environment)


def replicas_of(plan: Plan, service: str) -> Iterable[str]:
    return [f"{service}-{slot}" for slot in range(plan.replicas.get(service, 1))]


def _environment(service: str, surroundings: Surroundings) -> dict[str, str]:
    environment: dict[str, str] = {}
    if port := surroundings.ports.get(service):
        environment["HEADRACE_DATABASE__URL"] = f"postgresql://headrace_{service}@127.0.0.1:{port}/{DATABASE}"
    if port := surroundings.ports.get(f"{service}-kafka"):
        environment["HEADRACE_BROKER__URL"] = f"kafka://127.0.0.1:{port}"
    if service == "fetcher":
        environment["HEADRACE_FETCHER__BATCH_RECORDS"] = "1"  # a unit then holds one document
    if service == "notifier":
        environment |= {f"HEADRACE_NOTIFIER__{name}": value for name, value in NOTIFIER.items()}
        environment["HEADRACE_NOTIFIER__WEBHOOK_URL_FILE"] = str(surroundings.webhook)
    return environment
