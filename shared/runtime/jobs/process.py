"""Runs a job in its own process: the service's program, started once more only for the job."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence

from shared.ops.operations import Operation
from shared.runtime.exit_codes import SUPERVISED
from shared.runtime.jobs.replay import JOB, JOB_WORKER
from shared.runtime.jobs.workers import StartWorker
from shared.settings.sections import ServiceSettings

LAST_WORDS_BYTES = 2000
# A slot has 60 characters at most, of which ".job1" takes five.
LONGEST_SLOT = 55


class JobProcess:
    """The process of a job. Its stderr is forwarded to this process's stderr, and the end of it is kept for
    `last_error`."""

    def __init__(self, command: Sequence[str], environment: Mapping[str, str]) -> None:
        self._process = subprocess.Popen(  # noqa: S603  # our own program
            command, env={**os.environ, **environment}, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE
        )
        self._output_tail = b""
        self._passing_on = threading.Thread(target=self._forward_output, name="log of a job", daemon=True)
        self._passing_on.start()

    def status(self) -> int | None:
        """The exit code, negative for a signal; None while it runs."""
        return self._process.poll()

    def stop(self) -> None:
        if self._process.poll() is None:
            self._process.terminate()

    def wait(self, timeout_s: float) -> None:
        """Wait until it has ended; kill it after `timeout_s`."""
        try:
            self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._passing_on.join(1.0)

    def last_error(self) -> str:
        """The last line of its stderr."""
        lines = self._output_tail.decode(errors="replace").strip().splitlines()
        return lines[-1] if lines else "no output"

    def _forward_output(self) -> None:
        assert self._process.stderr is not None  # noqa: S101  # it was started with stderr=PIPE
        with self._process.stderr as stderr:
            for line in stderr:
                sys.stderr.buffer.write(line)
                sys.stderr.buffer.flush()
                self._output_tail = (self._output_tail + line)[-LAST_WORDS_BYTES:]


def replay_starter(settings: ServiceSettings) -> StartWorker:
    """Starts replays, each as this program in a process of its own with the same settings, so that it does not compete
    for this process's interpreter. It ends when this process ends. It has its own slot, for services that identify
    writers by slot."""

    def start(operation: Operation, worker: str, index: int) -> JobProcess:
        slot = f"{settings.service.slot[:LONGEST_SLOT]}.job{index or ''}"
        environment = {JOB: operation.id, JOB_WORKER: worker, SUPERVISED: "1", "HEADRACE_SERVICE__SLOT": slot}
        return JobProcess(own_program(), environment)

    return start


def own_program() -> list[str]:
    """The command that started this process, as `python -m MODULE OPTIONS`."""
    spec = sys.modules["__main__"].__spec__
    if spec is None:
        raise RuntimeError("a job's process can only be started from a program that was started with `python -m`")
    return [sys.executable, "-m", spec.name.removesuffix(".__main__"), *sys.argv[1:]]
