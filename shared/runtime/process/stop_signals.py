"""Calls a function at SIGTERM or SIGINT, in a thread."""

from __future__ import annotations

import signal
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import structlog

_DONE = b"\0"

log = structlog.get_logger(__name__)


@contextmanager
def stop_signals(stop: Callable[[], None]) -> Iterator[None]:
    """Call `stop` in a thread at SIGTERM or SIGINT.

    Python wakes that thread through a socket (set_wakeup_fd), so this also works while the main thread runs C code, and
    `stop` may take locks, which a signal handler must not.
    """
    ours, theirs = socket.socketpair()
    theirs.setblocking(False)
    # The handler itself does nothing: Python's default one would raise KeyboardInterrupt in the middle of a unit.
    before = {number: signal.signal(number, lambda *_: None) for number in (signal.SIGTERM, signal.SIGINT)}
    wakeup = signal.set_wakeup_fd(theirs.fileno())
    watch = threading.Thread(target=_stop_on_signals, args=(ours, stop), name="signals", daemon=True)
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


def _stop_on_signals(ours: socket.socket, stop: Callable[[], None]) -> None:
    while (byte := ours.recv(1)) != _DONE:  # one byte for each signal; a repeated signal has no further effect
        log.info("stopping", signal=signal.Signals(byte[0]).name)
        stop()
