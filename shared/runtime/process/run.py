"""The life of a service process: it starts, says how it is, stops when told to, and dies when it must.

Crash-only: what the loop cannot handle ends the process with exit code 1, and whoever watches it starts it again.
This is the only place that catches everything.

Exit codes: 0 stopped as told; 1 died, restart it; 2 a setting is wrong, a restart will not help.
"""

from __future__ import annotations

import argparse
import ctypes
import os
import platform
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import TypeVar
from uuid import UUID

import structlog

from shared.errors import ConfigError
from shared.logs import configure, mask_text
from shared.runtime.api.context import Desk, ServiceView
from shared.runtime.api.server import admin_server
from shared.runtime.exit_codes import DIED, MISCONFIGURED, STOPPED, SUPERVISED, Background, Loop
from shared.runtime.metrics import Metrics
from shared.runtime.process.replicas import Replicas
from shared.runtime.process.watchdog import HUNG_S, Watchdog
from shared.settings.loading import load
from shared.settings.sections import ServiceSettings

# The whole pipeline promises to be gone within 10 s, of which its supervisor waits 7 for us before it kills.
GRACE_S = 6.0
_PR_SET_PDEATHSIG = 1
_DONE = b"\0"

S = TypeVar("S", bound=ServiceSettings)
log = structlog.get_logger(__name__)


def launch(model: type[S], start: Callable[[S], int]) -> int:
    """The whole main of a service: load its settings, `start` it (wire, then `run`), return the exit code."""
    configure(model.name)
    _die_with_supervisor(os.environ)
    try:
        settings = load(model, os.environ, _options(model.name))
        configure(model.name, settings.log.level)
        return start(settings)
    except ConfigError as error:
        sys.stderr.write(f"{model.name}: {mask_text(str(error))}\n")
        return MISCONFIGURED
    except KeyboardInterrupt:  # Ctrl-C before the signals are ours
        return STOPPED
    except Exception:
        log.exception("could not start")
        return DIED


def run(
    settings: ServiceSettings,
    loop: Loop,
    view: ServiceView,
    metrics: Metrics,
    background: Sequence[Background] = (),
    grace_s: float = GRACE_S,
    hung_s: float = HUNG_S,
    desk: Desk | None = None,
    incarnation: UUID | None = None,
) -> int:
    """Run the loop in this (the main) thread, with admin app, heartbeat (both tell what `view` shows) and background
    work beside it. `desk`: where the admin app's endpoints work, if they have more to show than the view;
    `incarnation`: of this process among those of its replica.

    SIGTERM and SIGINT stop the loop; what has not ended `grace_s` later is cut off with exit code 1, and so is a loop
    that has not ticked for `hung_s`. Raises ConfigError when the admin app cannot listen.
    """
    configure(settings.name, settings.log.level)
    _die_with_supervisor(os.environ)
    metrics.build_info.labels(settings.name, version("headrace"), platform.python_version()).set(1)
    crew = _Crew(loop, background, grace_s)
    conninfo = settings.database.conninfo()
    with (
        _signals(crew.stop),
        closing(crew),
        admin_server(desk or Desk(settings, view), metrics.registry) as admin,
        Replicas(conninfo, view, admin.url, crew.guard, metrics, incarnation=incarnation) as replicas,
        Watchdog(loop, hung_s),
    ):
        log.info("started", pid=os.getpid(), admin_url=admin.url, replica=settings.service.replica)
        crew.work()
        if crew.failures:
            replicas.fail(mask_text(f"{type(crew.failures[0]).__name__}: {crew.failures[0]}"))
    log.info("stopped", failed=bool(crew.failures))
    return DIED if crew.failures else STOPPED


class _Crew:
    """The loop and the work beside it: the end of one is the end of all, `grace_s` later at the latest."""

    def __init__(self, loop: Loop, background: Sequence[Background], grace_s: float) -> None:
        self.failures: list[Exception] = []
        self._loop = loop
        self._stopping = threading.Event()
        self._once = threading.Lock()
        self._deadline = threading.Timer(grace_s, _cut_off, (grace_s,))
        self._deadline.daemon = True
        self._threads = [
            threading.Thread(target=self.guard, args=(name_of(work), partial(self._until_stop, work)), daemon=True)
            for work in background
        ]

    def work(self) -> None:
        """Work until told to stop, or until something dies; then `failures` says of what."""
        for thread in self._threads:
            thread.start()
        self.guard("loop", self._loop.run)
        self.stop()
        for thread in self._threads:
            thread.join()

    def stop(self) -> None:
        with self._once:
            if not self._stopping.is_set():
                self._stopping.set()
                self._deadline.start()
        self._loop.stop()

    def guard(self, name: str, work: Callable[[], None]) -> None:
        """Call it; what it dies of ends the process, for nobody else could handle it."""
        try:
            work()
        except Exception as error:
            log.exception("died", part=name)
            self.failures.append(error)
            self.stop()

    def close(self) -> None:
        self._deadline.cancel()

    def _until_stop(self, work: Background) -> None:
        work(self._stopping)
        if not self._stopping.is_set():
            raise RuntimeError(f"{name_of(work)} returned before it was told to stop")


def name_of(work: object) -> str:
    return getattr(work, "__qualname__", type(work).__qualname__)


@contextmanager
def _signals(stop: Callable[[], None]) -> Iterator[None]:
    """Call `stop` in a thread at SIGTERM or SIGINT.

    Python tells that thread through a socket (set_wakeup_fd), so this works also while the main thread is deep in C,
    and `stop` may take locks, which a signal handler must not.
    """
    ours, theirs = socket.socketpair()
    theirs.setblocking(False)
    # The handler itself does nothing: Python's own would raise KeyboardInterrupt in the middle of a unit.
    before = {number: signal.signal(number, lambda *_: None) for number in (signal.SIGTERM, signal.SIGINT)}
    wakeup = signal.set_wakeup_fd(theirs.fileno())
    watch = threading.Thread(target=_watch, args=(ours, stop), name="signals", daemon=True)
    watch.start()
    try:
        yield
    finally:
        signal.set_wakeup_fd(wakeup)
        theirs.send(_DONE)
        watch.join()
        for number, handler in before.items():
            signal.signal(number, handler)
        ours.close()
        theirs.close()


def _watch(ours: socket.socket, stop: Callable[[], None]) -> None:
    while (told := ours.recv(1)) != _DONE:  # a byte for a signal; a second one asks for what is already happening
        log.info("stopping", signal=signal.Signals(told[0]).name)
        stop()


def _cut_off(grace_s: float) -> None:
    log.error("not done in time, cut off; the open unit never happened", grace_s=grace_s)
    os._exit(DIED)


def _options(service: str) -> Path | None:
    parser = argparse.ArgumentParser(prog=f"python -m services.{service}")
    parser.add_argument("--config", type=Path, metavar="FILE", help="headrace.yaml; default: HEADRACE_CONFIG")
    config: Path | None = parser.parse_args().config
    return config


def _die_with_supervisor(environ: Mapping[str, str]) -> None:
    """Get SIGTERM when the supervisor's thread that started us ends, also by kill -9: no orphan stays. Linux only."""
    if environ.get(SUPERVISED) == "1" and sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
