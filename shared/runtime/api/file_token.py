"""The token in admin.token_file, which may be replaced while the service runs."""

from __future__ import annotations

import hmac
import threading
import time
from collections.abc import Callable
from pathlib import Path

import structlog

from shared.errors import ConfigError
from shared.settings.admin import read_file_token

CHECK_S = 1.0
_Signature = tuple[int, int, int] | None

log = structlog.get_logger("api")


class FileToken:
    """Compares tokens with the one in the file, of which it looks at most once in CHECK_S whether it was replaced.

    A file that cannot be used is logged; the token before it stays valid. Used by several threads.
    """

    def __init__(self, file: Path, clock: Callable[[], float] = time.monotonic) -> None:
        """Raises ConfigError if the file has no valid token."""
        self._file = file
        self._clock = clock
        self._lock = threading.Lock()
        # Before the file is read: what is written in between is noticed later.
        self._signature = _signature_of(file)
        self._token = read_file_token(file).encode()
        self._check_at_s = clock() + CHECK_S

    def __repr__(self) -> str:
        return f"FileToken({str(self._file)!r})"

    def __call__(self, token: str) -> bool:
        """Whether this is the token in the file."""
        with self._lock:
            if self._clock() >= self._check_at_s:
                self._check_at_s = self._clock() + CHECK_S
                self._read_again()
            return hmac.compare_digest(token.encode(), self._token)

    def _read_again(self) -> None:
        signature = _signature_of(self._file)
        if signature == self._signature:
            return
        self._signature = signature
        try:
            self._token = read_file_token(self._file).encode()
            log.info("admin_token_replaced", file=str(self._file))
        except (ConfigError, OSError) as error:
            log.warning(
                "admin_token_unusable", file=str(self._file), cause=str(error), effect="the token before is used"
            )


def _signature_of(file: Path) -> _Signature:
    """Changes if the file is written or replaced, also by a symbolic link; None if it cannot be read."""
    try:
        status = file.stat()
    except OSError:
        return None
    return status.st_ino, status.st_mtime_ns, status.st_ctime_ns
