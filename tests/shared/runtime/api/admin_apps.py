"""Admin apps for tests: over real HTTP, with a token file, and with the database role of the service."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from secrets import token_bytes

import httpx2
import psycopg
from fastapi import APIRouter

from headrace.database.embedded import OWNER, EmbeddedPostgres
from services.cleaner.settings import CleanerSettings
from shared.database.connection import DbConnection
from shared.ops.tables import tokens as tokens_table
from shared.ops.tokens import ID_BYTES, SECRET_BYTES, Scope, new_token, token_text
from shared.runtime.api.context import AdminContext, ServiceView
from shared.runtime.api.problems import MEDIA_TYPE
from shared.runtime.api.server import admin_server
from shared.runtime.metrics import Metrics
from shared.settings.admin import AdminSettings
from shared.settings.sections import DatabaseSettings, ServiceSettings
from shared.topics import RAW
from tests.shared.runtime.views import GivenView

FILE_TOKEN = "open sesame, and let the forty thieves come in"
UNREACHABLE_DATABASE = DatabaseSettings(url="postgresql://nobody@127.0.0.1:1/nowhere")


def as_role(postgres: EmbeddedPostgres, database_url: str, role: str) -> DatabaseSettings:
    """Connects as the owner and sets the role, for the privileges of the role."""
    name = str(psycopg.conninfo.conninfo_to_dict(database_url)["dbname"])
    url = f"{postgres.url(database=name)}&options=-c%20role%3D{role}"
    return DatabaseSettings(url=url, password_file=postgres.password_file(OWNER))


def write_token_file(directory: Path) -> Path:
    file = directory / "token"
    file.touch(0o600)
    file.write_text(f"{FILE_TOKEN}\n")
    return file


def cleaner_settings(database: DatabaseSettings, file: Path | None) -> CleanerSettings:
    return CleanerSettings(database=database, admin=AdminSettings(token_file=file))


@contextmanager
def serve_admin_app(
    settings: ServiceSettings,
    view: ServiceView | None = None,
    routers: Sequence[Callable[[AdminContext], APIRouter]] = (),
    token: str | None = FILE_TOKEN,
) -> Iterator[httpx2.Client]:
    """A client of the admin app of the service. It sends `token` unless a request has its own."""
    context = AdminContext(settings, view or GivenView(service=settings.name), pausable_topics=[RAW], routers=routers)
    with (
        admin_server(context, Metrics().registry) as server,
        httpx2.Client(base_url=server.url, headers=auth_headers(token), timeout=60) as client,
    ):
        yield client


def auth_headers(token: str | None) -> dict[str, str]:
    return {} if token is None else {"Authorization": f"Bearer {token}"}


def create_token(
    connection: DbConnection, name: str, scope: Scope, lifetime: timedelta | None = None, *, delegate: bool = False
) -> str:
    """Create a token in the database; returns its text."""
    parts = new_token(token_bytes(ID_BYTES + SECRET_BYTES))
    tokens_table.create(connection, parts, name, scope, lifetime, delegate=delegate)
    return token_text(parts)


def assert_problem(response: httpx2.Response, status: int, kind: str) -> str:
    """Assert that the response is this problem and complete; returns its detail."""
    body = response.json()
    assert response.status_code == body["status"] == status, body
    assert response.headers["content-type"] == MEDIA_TYPE
    assert body["type"] == f"urn:headrace:problem:{kind}"
    assert body["title"].lower().replace(" ", "-") == kind
    assert body["request_id"] == response.headers["x-request-id"]
    detail: str = body["detail"]
    assert detail
    return detail
