"""A Docker engine for tests: the one that answers, or one that is started in a temporary directory and removed."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from tests.deploy.kubernetes.tools import BIN
from tests.processes import stopped_at_end
from tests.waiting import wait_until

# Images take 15 GB; /tmp is often small or in memory.
PARENT = Path("/var/tmp")
STOP_S = 60.0
_FORWARDING = Path("/proc/sys/net/ipv4/ip_forward")
_BRIDGE = "docker0"


class Engine:
    """The engine that the variables of `environment` select."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self.environment = dict(environment)

    def with_variables(self, variables: Mapping[str, str]) -> Engine:
        """The same engine with more variables of the shell."""
        return Engine({**self.environment, **variables})

    def run(self, *arguments: str | Path, folder: Path | None = None) -> subprocess.CompletedProcess[str]:
        """`docker`, which may fail."""
        command = ["docker", *arguments]
        return subprocess.run(
            command, check=False, capture_output=True, text=True, cwd=folder, env=self.environment, errors="replace"
        )

    def docker(self, *arguments: str | Path, folder: Path | None = None) -> str:
        """What `docker` prints. Raises AssertionError with its errors."""
        process = self.run(*arguments, folder=folder)
        assert process.returncode == 0, f"docker {' '.join(map(str, arguments))}: {process.stdout}{process.stderr}"
        return process.stdout.strip()

    def has_image(self, image: str) -> bool:
        return self.run("image", "inspect", image).returncode == 0

    def answers(self) -> bool:
        return self.run("version").returncode == 0


def _is_of_compose(name: str) -> bool:
    """Whether a variable would change what the compose file means."""
    return name.startswith(("COMPOSE_", "HEADRACE_")) or name.endswith("_IMAGE")


@contextmanager
def docker_engine() -> Iterator[Engine]:
    """An engine with a compose client. Skips the calling test if there is none and none can be started."""
    if shutil.which("docker") is None:
        pytest.skip("no docker: install Debian's packages docker.io and iptables")
    with ExitStack() as stack:
        folder = Path(tempfile.mkdtemp(prefix="hr-engine-", dir=PARENT))
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        shell = {name: value for name, value in os.environ.items() if not _is_of_compose(name)}
        engine = Engine({**shell, **_with_compose_plugin(folder)})
        if not engine.answers():
            engine = stack.enter_context(_started(folder, engine.environment))
        yield engine


def _with_compose_plugin(folder: Path) -> dict[str, str]:
    """Variables with which `docker compose` works: if needed, a configuration with the separate client as a plugin."""
    if subprocess.run(["docker", "compose", "version"], check=False, capture_output=True).returncode == 0:
        return {}
    client = shutil.which("docker-compose") or shutil.which("docker-compose", path=BIN)
    if client is None:
        pytest.skip(f"no compose client: .ci/compose-client {BIN} builds one")
    plugins = folder / "configuration" / "cli-plugins"
    plugins.mkdir(parents=True)
    (plugins / "docker-compose").symlink_to(client)
    return {"DOCKER_CONFIG": str(plugins.parent)}


@contextmanager
def _started(folder: Path, environment: Mapping[str, str]) -> Iterator[Engine]:
    if shutil.which("dockerd") is None or os.geteuid() != 0:
        pytest.skip("no Docker engine answers, and starting one needs dockerd and root")
    with _restored_network(), (folder / "dockerd.log").open("wb") as log:
        socket = f"unix://{folder}/docker.sock"
        command = [
            "dockerd", f"--data-root={folder}/data", f"--exec-root={folder}/exec", f"--pidfile={folder}/docker.pid",
            f"--host={socket}",
        ]  # fmt: skip
        process = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
        engine = Engine({**environment, "DOCKER_HOST": socket})
        try:
            with stopped_at_end(process, STOP_S):
                wait_until(lambda: engine.answers() or process.poll() is not None, "the engine")
                if process.poll() is not None:
                    pytest.skip(f"no Docker engine can be started: {(folder / 'dockerd.log').read_text()[-500:]}")
                yield engine
        finally:
            _unmount_below(folder)


@contextmanager
def _restored_network() -> Iterator[None]:
    """Afterwards, remove the bridge and restore iptables and forwarding, which dockerd leaves changed.

    If the bridge exists before, another engine uses all three, and they are left alone.
    """
    if _has_bridge():
        yield
        return
    forwarding, rules = _FORWARDING.read_text(), subprocess.run(["iptables-save"], check=True, capture_output=True)
    try:
        yield
    finally:
        subprocess.run(["ip", "link", "delete", _BRIDGE], check=False, capture_output=True)
        subprocess.run(["iptables-restore"], check=True, input=_with_empty_tables(rules.stdout))
        _FORWARDING.write_text(forwarding)


def _has_bridge() -> bool:
    return Path("/sys/class/net", _BRIDGE).exists()


def _with_empty_tables(rules: bytes) -> bytes:
    """The saved rules, and no rules in the tables that dockerd created."""
    empty = {
        b"filter": b"*filter\n:INPUT ACCEPT\n:FORWARD ACCEPT\n:OUTPUT ACCEPT\nCOMMIT\n",
        b"nat": b"*nat\n:PREROUTING ACCEPT\n:INPUT ACCEPT\n:OUTPUT ACCEPT\n:POSTROUTING ACCEPT\nCOMMIT\n",
    }
    return rules + b"".join(text for table, text in empty.items() if b"*" + table not in rules)


def _unmount_below(folder: Path) -> None:
    mounts = [line.split()[1] for line in Path("/proc/self/mounts").read_text().splitlines()]
    for path in sorted((each for each in mounts if each.startswith(f"{folder}/")), reverse=True):
        subprocess.run(["umount", path], check=False, capture_output=True)
