"""Holds the slot of a replica: claims a free one at the start, renews its lease, and releases it at the end.

Two replicas of a service must not have the same slot, because they would fence each other (docs/promises.md).
"""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar
from uuid import UUID, uuid4

import psycopg
import structlog

from shared.database.connection import DbConnection, first_line, limited_connection
from shared.errors import ConfigError, HeadraceError, TransientError
from shared.ops.tables import slots as slots_table
from shared.runtime.api.context import AdminContext
from shared.runtime.api.server import admin_server
from shared.runtime.metrics import Metrics
from shared.runtime.process.stop_signals import stop_signals
from shared.settings.sections import AUTO, ServiceSettings

RENEW_S = 1.0
RETRY_S = 0.5
# The limit of one renewal. After it, the statement is cancelled on the server and the connection is dropped.
ANSWER_S = 5.0
# The file that identifies a folder, whatever its path is on each host.
FOLDER_ID = ".headrace-folder"

S = TypeVar("S", bound=ServiceSettings)
log = structlog.get_logger(__name__)


class SlotKeeper:
    """Holds one slot. `run` is a background task (exit_codes.Background)."""

    def __init__(self, settings: ServiceSettings, incarnation: UUID, renew_s: float = RENEW_S) -> None:
        """Raises ConfigError if a folder of the service cannot be identified."""
        self.incarnation = incarnation
        self.slot = "" if settings.service.slot == AUTO else settings.service.slot
        self._paths = settings.folders()
        folders = {purpose: folder_id(path) for purpose, path in self._paths.items()}
        self._holder = slots_table.Holder(settings.name, socket.gethostname(), incarnation, folders)
        self._renew_s = renew_s
        self._link = limited_connection(settings.database.conninfo(), f"{settings.name} slot", ANSWER_S)
        self._is_claimed = False
        # The server process of the session that holds the advisory lock.
        self._locked_by = 0

    def claim(self) -> None:
        """Claim a free slot. Raises TransientError if the database is unavailable or its schema is missing, ConfigError
        if a live replica of the service uses another folder for the same purpose."""
        with self._use() as connection:
            self.slot = slots_table.claim(connection, self._holder)
            self._locked_by = connection.info.backend_pid
            self._is_claimed = True
            self._require_shared_folders(connection)

    def run(self, stop: threading.Event) -> None:
        """Renew until stopped. Raises HeadraceError if another process has taken the slot."""
        reachable = True
        while not stop.is_set():
            try:
                self.renew()
                reachable = True
            except TransientError as error:
                if reachable:
                    log.warning("slot_renewal_failed", slot=self.slot, cause=str(error))
                reachable = False
            stop.wait(self._renew_s)

    def renew(self) -> None:
        with self._use() as connection:
            if not self._is_claimed:  # a configured slot
                slots_table.take(connection, self._holder, self.slot)
                self._is_claimed = True
                self._require_shared_folders(connection)
            elif not slots_table.renew(connection, self._holder, self.slot):
                raise HeadraceError(
                    f"another process has taken slot {self.slot!r} of the {self._holder.service}; "
                    f"leave service.slot unset, or give each replica its own"
                )
            backend = connection.info.backend_pid
            if self._locked_by != backend and slots_table.lock(connection, self._holder.service, self.slot):
                self._locked_by = backend

    def release(self) -> None:
        if self._is_claimed:
            with suppress(TransientError), self._use() as connection:
                slots_table.release(connection, self._holder, self.slot)
        self._link.drop()

    def _require_shared_folders(self, connection: DbConnection) -> None:
        for host, purpose in slots_table.other_folders(connection, self._holder):
            raise ConfigError(
                f"a replica on {host} has another {purpose} folder than this one ({self._paths[purpose]}): "
                f"mount one volume there in all replicas of the {self._holder.service}, or run only one"
            )

    @contextmanager
    def _use(self) -> Iterator[DbConnection]:
        try:
            with self._link.use() as connection:
                yield connection
        except (psycopg.errors.UndefinedTable, psycopg.errors.InvalidSchemaName) as error:
            raise TransientError("the database has no table of slots yet: run `headrace migrate`") from error
        except psycopg.Error as error:
            raise TransientError(f"the database refuses the slot: {first_line(error)}") from error


@contextmanager
def held_slot(settings: S, metrics: Metrics) -> Iterator[tuple[S, SlotKeeper] | None]:
    """Claim a slot and hold it within the block. Yields the settings with the slot, and its keeper; None if a signal
    ended the wait for the database. While it waits, the admin app answers that the service is not ready."""
    keeper = SlotKeeper(settings, uuid4())
    try:
        if keeper.slot or not _try_claim(keeper) or _wait_for_claim(keeper, settings, metrics):
            yield with_slot(settings, keeper.slot), keeper
        else:
            yield None
    finally:
        keeper.release()


def with_slot(settings: S, slot: str) -> S:
    service = settings.service
    named = {} if "replica" not in service.model_fields_set else {"replica": service.replica}
    return settings.model_copy(update={"service": type(service)(slot=slot, **named)})


def folder_id(folder: Path) -> str:
    """The content of the folder's file FOLDER_ID, which is created if it is missing. Raises ConfigError."""
    file = folder / FOLDER_ID
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if not file.exists():
            new = folder / f"{FOLDER_ID}.{uuid4()}"
            new.write_text(f"{uuid4()}\n")
            with suppress(FileExistsError):  # a replica that starts at the same time has created it
                os.link(new, file)
            new.unlink()
        return file.read_text().strip()
    except OSError as error:
        raise ConfigError(f"cannot write to {folder}: {error.strerror}") from error


class _WaitingView:
    """The state of a service without a slot."""

    def __init__(self, settings: ServiceSettings) -> None:
        self.cause = ""
        self._settings = settings

    def alive(self) -> bool:
        return True

    def ready(self) -> tuple[bool, str]:
        return False, f"waiting for a slot: {self.cause}"

    def status(self) -> dict[str, Any]:
        name = self._settings.service.replica
        return {"service": self._settings.name, "replica": name, "state": "waiting for a slot", "detail": {}}

    def lag(self, *, thorough: bool = False) -> list[dict[str, Any]]:  # noqa: ARG002
        return []


def _try_claim(keeper: SlotKeeper) -> str:
    """Claim a slot. Returns why that is not possible yet; empty text after a success."""
    try:
        keeper.claim()
    except TransientError as error:
        return str(error)
    return ""


def _wait_for_claim(keeper: SlotKeeper, settings: ServiceSettings, metrics: Metrics) -> bool:
    """Try until a slot is claimed; False if a signal ends the wait."""
    view, stop = _WaitingView(settings), threading.Event()
    with stop_signals(stop.set), admin_server(AdminContext(settings, view), metrics.registry):
        while not stop.is_set():
            cause = _try_claim(keeper)
            if not cause:
                return True
            if cause != view.cause:
                log.warning("slot_not_claimed", cause=cause)
            view.cause = cause
            stop.wait(RETRY_S)
    return False
