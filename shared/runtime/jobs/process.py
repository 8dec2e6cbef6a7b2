"""A job in a process of its own: the service's program, started again for the job alone."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence

from shared.ops.operations import Operation
from shared.runtime.exit_codes import SUPERVISED
from shared.runtime.jobs.replay import JOB, JOB_WORKER
from shared.runtime.jobs.workers import Start
from shared.settings.sections import ServiceSettings

LAST_WORDS_BYTES = 2000
# A slot has 60 characters at most, of which ".job1" takes five.
LONGEST_SLOT = 55


class JobProcess:
    """Its log goes where ours goes; of what it says, the end is kept: the last words of one that dies."""

    def __init__(self, command: Sequence[str], environment: Mapping[str, str]) -> None:
        self._process = subprocess.Popen(  # noqa: S603  # our own program
            command, env={**os.environ, **environment}, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE
        )
        self._last = b""
        self._passing_on = threading.Thread(target=self._pass_on, name="log of a job", daemon=True)
        self._passing_on.start()

    def status(self) -> int | None:
        """The exit code, negative for a signal; None while it runs."""
        return self._process.poll()

    def stop(self) -> None:
        if self._process.poll() is None:
            self._process.terminate()

    def wait(self, timeout_s: float) -> None:
        """Until it has ended; cut off where it has not in time."""
        try:
            self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._passing_on.join(1.0)

    def last_words(self) -> str:
        """The last line it said."""
        lines = self._last.decode(errors="replace").strip().splitlines()
        return lines[-1] if lines else "it said nothing"

    def _pass_on(self) -> None:
        assert self._process.stderr is not None  # noqa: S101  # a pipe, as asked for
        with self._process.stderr as said:
            for line in said:
                sys.stderr.buffer.write(line)
                sys.stderr.buffer.flush()
                self._last = (self._last + line)[-LAST_WORDS_BYTES:]


def replaying(settings: ServiceSettings) -> Start:
    """A replay's worker is this program, started again with the same settings: with an interpreter of its own it takes
    none of ours, and it ends when we do. Its slot is its own, where a service tells by it who writes."""

    def start(operation: Operation, worker: str, place: int) -> JobProcess:
        slot = f"{settings.service.slot[:LONGEST_SLOT]}.job{place or ''}"
        environment = {JOB: operation.id, JOB_WORKER: worker, SUPERVISED: "1", "HEADRACE_SERVICE__SLOT": slot}
        return JobProcess(own_program(), environment)

    return start


def own_program() -> list[str]:
    """The command that started this process, as `python -m MODULE OPTIONS`."""
    spec = sys.modules["__main__"].__spec__
    if spec is None:
        raise RuntimeError("only a program that was started with `python -m` can start itself again")
    return [sys.executable, "-m", spec.name.removesuffix(".__main__"), *sys.argv[1:]]
