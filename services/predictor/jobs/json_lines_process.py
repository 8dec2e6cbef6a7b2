"""A subprocess that exchanges JSON objects over its standard input and output, one per line."""

from __future__ import annotations

import os
import select
import signal
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any

import orjson
import structlog

# The process has nothing to tidy up, so SIGKILL follows SIGTERM soon.
STOP_S = 1.0
READ_BYTES = 65_536

log = structlog.get_logger(__name__)


class JsonLinesProcess:
    """For one thread. Its standard input stays open until `stop`, so that it can end when its parent is gone."""

    def __init__(self, program: Sequence[str]) -> None:
        # A process group of its own, because processes that it starts have to end with it.
        self._process = subprocess.Popen(  # noqa: S603  # our own program
            program, bufsize=0, stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True
        )
        assert self._process.stdin is not None  # noqa: S101  # a pipe, as requested
        assert self._process.stdout is not None  # noqa: S101
        self._input, self._output = self._process.stdin, self._process.stdout
        self._readable = select.poll()
        self._readable.register(self._output, select.POLLIN)

    def send(self, message: Mapping[str, Any]) -> None:
        try:
            self._input.write(orjson.dumps(message) + b"\n")
        except BrokenPipeError:
            log.warning("job_process_exited_early")

    def messages(self, wait_s: float) -> Iterator[dict[str, Any]]:
        """Yield each message, and an empty one after every `wait_s` without output. Ends with the process.

        Processes that it started may keep its output open; they are not waited for.
        """
        pending = b""
        while True:
            # Checked before reading: everything that it wrote before it ended is in the pipe by then.
            ended = self._process.poll() is not None
            output = self._read(0 if ended else wait_s)
            *lines, pending = (pending + output).split(b"\n")
            yield from _objects_of(lines)
            if not output:
                if ended:
                    return
                yield {}

    def stop(self) -> int:
        """End the process and return its exit code, negative for a signal."""
        self._signal(signal.SIGTERM)
        try:
            code = self._process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            self._signal(signal.SIGKILL)
            code = self._process.wait()
        self._input.close()
        self._output.close()
        return code

    def _read(self, wait_s: float) -> bytes:
        """Read what arrives within this time; empty if nothing does."""
        if not self._readable.poll(wait_s * 1000):
            return b""
        output = self._output.read(READ_BYTES)
        if not output:  # end of output: only the exit is left to wait for
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(wait_s)
        return output

    def _signal(self, number: signal.Signals) -> None:
        """Signal its process group, but not after it was waited for: the number may belong to another process by
        then."""
        if self._process.poll() is None:
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, number)


def _objects_of(lines: Sequence[bytes]) -> Iterator[dict[str, Any]]:
    """Skips lines that are not JSON objects."""
    for line in lines:
        with suppress(orjson.JSONDecodeError):
            message = orjson.loads(line)
            if isinstance(message, dict):
                yield message
