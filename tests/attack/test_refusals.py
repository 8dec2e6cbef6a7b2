"""Every endpoint of every service refuses with a problem that says what to do, whatever the scope of the token."""

from __future__ import annotations

from pathlib import Path

import httpx2
import pytest

from headrace.database.embedded import EmbeddedPostgres
from shared.database.connection import DbConnection
from shared.topics import SERVICES
from tests.attack.attempts import ADMIN, NO_TOKEN, OPERATE, READ, WRONG, attempts_with_tokens, endpoints_of
from tests.attack.client import attack
from tests.attack.judge import complaints, statuses
from tests.services.apps import server_of
from tests.shared.runtime.api.admin_apps import FILE_TOKEN, as_role, create_token

CLIENTS = 4


@pytest.mark.parametrize("service", SERVICES)
def test_every_refusal_of_an_endpoint_says_what_to_do(
    service: str, postgres: EmbeddedPostgres, database_url: str, database: DbConnection, tmp_path: Path
) -> None:
    tokens: dict[str, str | None] = {
        NO_TOKEN: None,
        WRONG: "guess",
        READ: create_token(database, "viewer", "read"),
        OPERATE: create_token(database, "operator", "operate"),
        ADMIN: create_token(database, "admin", "admin"),
    }
    login = as_role(postgres, database_url, f"headrace_{service}")

    with server_of(service, database_url, login, tmp_path, FILE_TOKEN) as server:
        endpoints = endpoints_of(httpx2.get(f"{server.url}/openapi.json", timeout=60).json())
        attempts = list(attempts_with_tokens(endpoints, tokens))
        outcomes = attack([(service, "127.0.0.1", server.port, each) for each in attempts], CLIENTS)

    assert sorted(complaints(outcomes)) == []
    assert {"401", "403", "404", "422"} <= statuses(outcomes).keys()
    assert statuses(outcomes)["401"] >= 2 * sum(path.startswith("/v1") for _, path, _ in endpoints)
