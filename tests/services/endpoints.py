"""Serves the endpoints of one service over HTTP, under the service's own database role."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, TypeVar

import httpx2
from fastapi import APIRouter

from headrace.database.embedded import EmbeddedPostgres
from shared.broker.contract import Broker
from shared.runtime.api.context import AdminContext
from shared.runtime.api.server import admin_server
from shared.runtime.metrics import Metrics
from shared.runtime.process.operation_poller import OperationPoller, ReadProgress
from shared.settings.admin import AdminSettings
from shared.settings.sections import ServiceSettings
from tests.shared.runtime.api.admin_apps import FILE_TOKEN, as_role, write_token_file
from tests.shared.runtime.views import GivenView
from tests.waiting import wait_until

S = TypeVar("S", bound=ServiceSettings)


def settings_of(model: type[S], postgres: EmbeddedPostgres, database_url: str, directory: Path) -> S:
    """Settings of a service that connects to the database under its own role."""
    database = as_role(postgres, database_url, f"headrace_{model.name}")
    return model(database=database, admin=AdminSettings(token_file=write_token_file(directory)), data_dir=directory)


@contextmanager
def served(
    settings: ServiceSettings, router: Callable[[AdminContext], APIRouter], broker: Broker | None = None
) -> Iterator[httpx2.Client]:
    context = AdminContext(
        settings,
        GivenView(service=settings.name),
        routers=[router],
        open_broker=None if broker is None else lambda: broker,
    )
    with (
        admin_server(context, Metrics().registry) as server,
        httpx2.Client(
            base_url=f"{server.url}/v1", headers={"Authorization": f"Bearer {FILE_TOKEN}"}, timeout=60
        ) as client,
    ):
        yield client


def finished_operation(
    client: httpx2.Client, response: httpx2.Response, settings: ServiceSettings, kind: str, read_progress: ReadProgress
) -> Any:
    """Waits until the operation has ended, polling it as its service does, and returns it."""
    assert response.status_code == 202, response.text
    path = response.headers["location"].removeprefix("/v1")
    with closing(OperationPoller(settings.database.conninfo(), settings.name, kind, read_progress)) as poller:

        def has_ended() -> bool:
            poller.poll()
            return bool(client.get(path).json()["finished_at"])

        wait_until(has_ended)
    return client.get(path).json()
