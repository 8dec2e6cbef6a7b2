"""A service's own endpoints over HTTP, under the service's own database role."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, TypeVar

import httpx
from fastapi import APIRouter

from headrace.database.embedded import EmbeddedPostgres
from shared.broker.contract import Broker
from shared.runtime.api.context import AdminContext
from shared.runtime.api.server import admin_server
from shared.runtime.metrics import Metrics
from shared.runtime.process.operation_poller import OperationPoller, ReadProgress
from shared.settings.sections import AdminSettings, ServiceSettings
from tests.shared.runtime.api.desks import FILE_TOKEN, as_role, token_file
from tests.shared.runtime.views import GivenView
from tests.waiting import wait_until

S = TypeVar("S", bound=ServiceSettings)


def settings_of(model: type[S], postgres: EmbeddedPostgres, database_url: str, directory: Path) -> S:
    """Settings of a service that enters the database under its own role."""
    database = as_role(postgres, database_url, f"headrace_{model.name}")
    return model(database=database, admin=AdminSettings(token_file=token_file(directory)), data_dir=directory)


@contextmanager
def served(
    settings: ServiceSettings, router: Callable[[AdminContext], APIRouter], broker: Broker | None = None
) -> Iterator[httpx.Client]:
    desk = AdminContext(
        settings,
        GivenView(service=settings.name),
        routers=[router],
        open_broker=None if broker is None else lambda: broker,
    )
    with (
        admin_server(desk, Metrics().registry) as server,
        httpx.Client(
            base_url=f"{server.url}/v1", headers={"Authorization": f"Bearer {FILE_TOKEN}"}, timeout=60
        ) as client,
    ):
        yield client


def settled(
    client: httpx.Client, asked: httpx.Response, settings: ServiceSettings, kind: str, look: ReadProgress
) -> Any:
    """The operation once it is over, looked at as its service would."""
    assert asked.status_code == 202, asked.text
    place = asked.headers["location"].removeprefix("/v1")
    with closing(OperationPoller(settings.database.conninfo(), settings.name, kind, look)) as settling:

        def over() -> bool:
            settling.poll()
            return bool(client.get(place).json()["finished_at"])

        wait_until(over)
    return client.get(place).json()
