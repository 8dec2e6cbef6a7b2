"""Runs a service process: start, signals, admin app, heartbeat, watchdog, stop.

The design is crash-only: an error that the loop cannot handle ends the process with exit code 1, and its supervisor
restarts it. Only this module catches all exceptions.

Exit codes: 0 stopped by a signal; 1 crashed, restart it; 2 a setting is wrong, a restart does not help.
"""

from __future__ import annotations

import argparse
import ctypes
import os
import platform
import signal
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import TypeVar
from uuid import UUID

import structlog

from shared.errors import ConfigError
from shared.logs import configure, mask_text
from shared.runtime.api.context import AdminContext, ServiceView
from shared.runtime.api.server import admin_server
from shared.runtime.exit_codes import CRASHED, MISCONFIGURED, STOPPED, SUPERVISED, Background, Loop
from shared.runtime.metrics import Metrics
from shared.runtime.process.descriptors import raise_descriptor_limit
from shared.runtime.process.replicas import ReplicaHeartbeat
from shared.runtime.process.stop_signals import stop_signals
from shared.runtime.process.watchdog import HUNG_S, BackgroundWatch, Watchdog
from shared.settings.loading import load
from shared.settings.sections import ServiceSettings

# The whole pipeline stops within 10 s; its supervisor kills a service that has not exited after 7 s.
GRACE_S = 6.0
_PR_SET_PDEATHSIG = 1

S = TypeVar("S", bound=ServiceSettings)
log = structlog.get_logger(__name__)


def launch(model: type[S], start: Callable[[S], int]) -> int:
    """The main function of a service: loads the settings, calls `start` with them, and returns the exit code."""
    configure(model.name)
    raise_descriptor_limit()
    _request_parent_death_signal(os.environ)
    try:
        settings = load(model, os.environ, _options(model.name))
        configure(model.name, settings.log.level)
        return start(settings)
    except ConfigError as error:
        sys.stderr.write(f"{model.name}: {mask_text(str(error))}\n")
        return MISCONFIGURED
    except KeyboardInterrupt:  # Ctrl-C before `run` handles the signals
        return STOPPED
    except Exception:
        log.exception("start_failed")
        return CRASHED


def run(
    settings: ServiceSettings,
    loop: Loop,
    view: ServiceView,
    metrics: Metrics,
    background: Sequence[Background] = (),
    grace_s: float = GRACE_S,
    hung_s: float = HUNG_S,
    admin_context: AdminContext | None = None,
    incarnation: UUID | None = None,
    background_watch: BackgroundWatch | None = None,
) -> int:
    """Run the loop in the calling (main) thread, beside it the admin app, the heartbeat and the background tasks. The
    admin app and the heartbeat report `view`. `admin_context`: the dependencies of the admin app's endpoints, None if
    they only need the view. `incarnation`: identifies this process among those of its replica.
    `background_watch`: learns which background tasks move.

    SIGTERM and SIGINT stop the loop. The process exits with code 1 if it has not ended `grace_s` later, or if the loop
    has not ticked for `hung_s`. Raises ConfigError if the admin app cannot listen.
    """
    configure(settings.name, settings.log.level)
    _request_parent_death_signal(os.environ)
    metrics.build_info.labels(settings.name, version("headrace"), platform.python_version()).set(1)
    threads = _ThreadGroup(loop, background, grace_s, background_watch or BackgroundWatch())
    conninfo = settings.database.conninfo()
    with (
        stop_signals(threads.stop),
        closing(threads),
        admin_server(
            admin_context or AdminContext(settings, view),
            metrics.registry,
            metrics.count_request,
            metrics.count_response,
        ) as admin,
        ReplicaHeartbeat(conninfo, view, admin.url, threads.guard, metrics, incarnation=incarnation) as replicas,
        Watchdog(loop, hung_s),
    ):
        log.info("started", pid=os.getpid(), admin_url=admin.url, replica=settings.service.replica)
        threads.work()
        if threads.failures:
            replicas.fail(mask_text(f"{type(threads.failures[0]).__name__}: {threads.failures[0]}"))
    log.info("stopped", failed=bool(threads.failures))
    return CRASHED if threads.failures else STOPPED


class _ThreadGroup:
    """The loop and the background tasks. If one of them ends, all are stopped, within `grace_s`."""

    def __init__(
        self, loop: Loop, background: Sequence[Background], grace_s: float, background_watch: BackgroundWatch
    ) -> None:
        self.failures: list[Exception] = []
        self._loop = loop
        self._background_watch = background_watch
        self._stopping = threading.Event()
        self._stop_lock = threading.Lock()
        self._deadline = threading.Timer(grace_s, _exit_overdue, (grace_s,))
        self._deadline.daemon = True
        self._threads = [
            threading.Thread(target=self.guard, args=(name_of(work), partial(self._until_stop, work)), daemon=True)
            for work in background
        ]

    def work(self) -> None:
        """Run until stopped or until one of them fails; `failures` then holds the errors."""
        for thread in self._threads:
            thread.start()
        self.guard("loop", self._loop.run)
        self.stop()
        for thread in self._threads:
            thread.join()

    def stop(self) -> None:
        with self._stop_lock:
            if not self._stopping.is_set():
                self._stopping.set()
                self._deadline.start()
        self._loop.stop()

    def guard(self, name: str, work: Callable[[], None]) -> None:
        """Call `work`; any error that it raises ends the process."""
        try:
            work()
        except Exception as error:
            log.exception("part_crashed", part=name)
            self.failures.append(error)
            self.stop()

    def close(self) -> None:
        self._deadline.cancel()

    def _until_stop(self, work: Background) -> None:
        work(self._background_watch.stop_of(name_of(work), self._stopping))
        if not self._stopping.is_set():
            raise RuntimeError(f"background task {name_of(work)} returned before it was stopped")


def name_of(work: object) -> str:
    return getattr(work, "__qualname__", type(work).__qualname__)


def _exit_overdue(grace_s: float) -> None:
    log.error("stop_timed_out", grace_s=grace_s)
    os._exit(CRASHED)


def _options(service: str) -> Path | None:
    parser = argparse.ArgumentParser(prog=f"python -m services.{service}")
    parser.add_argument("--config", type=Path, metavar="FILE", help="headrace.yaml; default: HEADRACE_CONFIG")
    config: Path | None = parser.parse_args().config
    return config


def _request_parent_death_signal(environ: Mapping[str, str]) -> None:
    """Request SIGTERM when the supervisor's thread that started this process ends, even by kill -9, so that no orphan
    remains. Linux only."""
    if environ.get(SUPERVISED) == "1" and sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
