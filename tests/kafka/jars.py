"""The jars of the broker that tests run, fetched once by Maven into an ignored directory beside this file."""

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
    """There is no Kafka to test with; says what is missing and how to get it."""


def java() -> str:
    return _program("java")


def jars() -> Path:
    """The directory of the jars. Processes that ask at once wait for the one that fetches."""
    pom = _HERE / "pom.xml"
    found = _HERE / "target" / f"jars-{hashlib.sha256(pom.read_bytes()).hexdigest()[:12]}"
    found.parent.mkdir(exist_ok=True)
    with (found.parent / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not found.exists():
            _fetch(pom, found)
    return found


def _fetch(pom: Path, directory: Path) -> None:
    """Under another name until all is there: a fetch that was broken off is begun again."""
    half = directory.with_suffix(".half")
    shutil.rmtree(half, ignore_errors=True)
    command = [
        _program("mvn"),
        "-q",
        "-B",
        "-f",
        str(pom),
        "dependency:copy-dependencies",
        "-DincludeScope=runtime",
        f"-DoutputDirectory={half}",
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=FETCH_TIMEOUT_S, check=False)
    if done.returncode:
        said = next((line for line in (done.stdout + done.stderr).splitlines() if "ERROR" in line), "it said nothing")
        raise KafkaMissingError(f"Maven could not fetch Kafka ({said}); or set HEADRACE_KAFKA=HOST:PORT")
    half.rename(directory)


def _program(name: str) -> str:
    found = shutil.which(name)
    if found is None:
        raise KafkaMissingError(f"no Kafka to test with, for there is no {name}: {HOW_TO_GET_IT}")
    return found
