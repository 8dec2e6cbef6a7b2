"""The jars of the Kafka that tests run. Maven downloads them once into an ignored directory next to this file."""

from __future__ import annotations

import fcntl
import hashlib
import shutil
import subprocess
from pathlib import Path

HOW_TO_GET_IT = "apt install default-jre-headless maven, or set HEADRACE_KAFKA=HOST:PORT to a broker that tests may use"
FETCH_TIMEOUT_S = 300
_HERE = Path(__file__).parent


class KafkaMissingError(Exception):
    """There is no Kafka for tests. The message says what is missing and how to get it."""


def java() -> str:
    return _program("java")


def jars() -> Path:
    """The directory of the jars. Concurrent processes wait for the one that downloads."""
    pom = _HERE / "pom.xml"
    directory = _HERE / "target" / f"jars-{hashlib.sha256(pom.read_bytes()).hexdigest()[:12]}"
    directory.parent.mkdir(exist_ok=True)
    with (directory.parent / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not directory.exists():
            _fetch(pom, directory)
    return directory


def _fetch(pom: Path, directory: Path) -> None:
    """Into a temporary directory, so that an interrupted download is repeated."""
    partial = directory.with_suffix(".partial")
    shutil.rmtree(partial, ignore_errors=True)
    command = [
        _program("mvn"),
        "-q",
        "-B",
        "-f",
        str(pom),
        "dependency:copy-dependencies",
        "-DincludeScope=runtime",
        f"-DoutputDirectory={partial}",
    ]
    result = subprocess.run(command, capture_output=True, text=True, timeout=FETCH_TIMEOUT_S, check=False)
    if result.returncode:
        output = (result.stdout + result.stderr).splitlines()
        reason = next((line for line in output if "ERROR" in line), "it printed no error")
        raise KafkaMissingError(f"Maven could not download Kafka ({reason}); or set HEADRACE_KAFKA=HOST:PORT")
    partial.rename(directory)


def _program(name: str) -> str:
    path = shutil.which(name)
    if path is None:
        raise KafkaMissingError(f"no Kafka for tests, because {name} is not installed: {HOW_TO_GET_IT}")
    return path
