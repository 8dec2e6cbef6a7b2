"""A compose project: its commands and its containers."""

from __future__ import annotations

import json
import re
import subprocess
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.deploy.containers.engine import Engine
from tests.deploy.containers.figures import Figures
from tests.waiting import wait_until

_MIB = {"B": 2.0**-20, "KiB": 2.0**-10, "MiB": 1.0, "GiB": 2.0**10}


@dataclass(frozen=True)
class Container:
    """`health` is empty without a health check. `restarts`: by the engine, after the process ended."""

    id: str
    service: str
    image: str
    state: str
    health: str
    restarts: int
    exit_code: int


class Project:
    """The compose project `name` of the compose file in the folder `deploy`."""

    def __init__(self, engine: Engine, deploy: Path, name: str, figures: Figures) -> None:
        self.engine, self.deploy, self.name, self.figures = engine, deploy, name, figures

    def run(self, *arguments: str, variables: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:
        """`docker compose`, which may fail; `variables`: of the shell."""
        engine = self.engine.with_variables(variables) if variables else self.engine
        return engine.run("compose", *arguments, folder=self.deploy)

    def compose(self, *arguments: str, variables: Mapping[str, str] | None = None) -> str:
        """What `docker compose` prints. Raises AssertionError with its errors."""
        process = self.run(*arguments, variables=variables)
        assert process.returncode == 0, f"compose {' '.join(arguments)}: {process.stdout}{process.stderr}"
        return process.stdout

    def up(self, *arguments: str) -> None:
        self.compose("up", "--detach", "--wait", *arguments)

    def in_background(self, *command: str) -> subprocess.Popen[str]:
        """A command in the folder `deploy` that continues. `output` has its output."""
        with (self.deploy / "output").open("w") as output:
            return subprocess.Popen(
                command, cwd=self.deploy, env=self.engine.environment, stdout=output, stderr=output, text=True
            )

    def output(self) -> str:
        """Of the last command in the background."""
        return (self.deploy / "output").read_text()

    def containers(self, *services: str) -> list[Container]:
        """All containers of these services, or of the project, running or not."""
        ids = self.compose("ps", "--all", "--quiet", *services).split()
        return [_container_of(each) for each in self._inspect(ids)]

    def container(self, service: str) -> Container:
        (container,) = self.containers(service)
        return container

    def configurations(self) -> dict[str, dict[str, Any]]:
        """What the engine knows of the first container of each service."""
        ids = self.compose("ps", "--all", "--quiet").split()
        return {_container_of(each).service: each for each in self._inspect(ids)}

    def _inspect(self, ids: list[str]) -> list[dict[str, Any]]:
        inspected: list[dict[str, Any]] = json.loads(self.engine.docker("inspect", *ids)) if ids else []
        return inspected

    def restarts(self) -> Counter[str]:
        """By service: how often the engine restarted its containers."""
        restarts: Counter[str] = Counter()
        for each in self.containers():
            restarts[each.service] += each.restarts
        return +restarts

    def crash(self, service: str) -> None:
        """End the process of the service with SIGKILL, and wait for its restart.

        `docker kill` would count as stopped by hand. The process is ended from the engine's machine, because the first
        process of a container ignores signals of the others.
        """
        before = self.container(service)
        pids = [int(line) for line in self.engine.docker("top", before.id, "-o", "pid").splitlines()[1:]]
        state = self._inspect([before.id])[0]
        first = int(state["State"]["Pid"])
        # With an init process, the service is its child.
        pid = min(each for each in pids if each != first) if state["HostConfig"].get("Init") else first
        options = [
            "--rm",
            "--pid=host",
            "--cap-drop=ALL",
            "--cap-add=KILL",
            "--user=0",
            "--network=none",
            "--entrypoint=python",
        ]
        self.engine.docker("run", *options, self.container("fetcher").image, "-c", f"import os; os.kill({pid}, 9)")
        wait_until(lambda: self._is_restarted(before), f"the restart of {service}")

    def _is_restarted(self, before: Container) -> bool:
        now = self.container(before.service)
        return now.id == before.id and now.restarts > before.restarts and now.state == "running"

    def measure_memory(self, moment: str) -> None:
        """Note what each container of the project uses now."""
        lines = self.engine.docker("stats", "--no-stream", "--format", "{{.Name}} {{.MemUsage}}").splitlines()
        for line in lines:
            name, used = line.split()[:2]
            match = re.fullmatch(r"([\d.]+)(\w+)", used)
            if name.startswith(f"{self.name}-") and match is not None:
                service = name.removeprefix(f"{self.name}-").partition("-")[0]
                self.figures.memory(self.name, service, moment, float(match[1]) * _MIB[match[2]])

    def remove(self) -> None:
        """Remove containers, networks and volumes."""
        self.run("--profile", "*", "down", "--volumes", "--remove-orphans")


def _container_of(inspected: dict[str, Any]) -> Container:
    state = inspected["State"]
    return Container(
        id=inspected["Id"],
        service=inspected["Config"]["Labels"]["com.docker.compose.service"],
        image=inspected["Config"]["Image"],
        state=state["Status"],
        health=state.get("Health", {}).get("Status", ""),
        restarts=inspected["RestartCount"],
        exit_code=state["ExitCode"],
    )
