"""The audit trail: its entries, its pages, and that no role can rewrite it."""

from __future__ import annotations

from typing import Any

import httpx2
import psycopg
import pytest

from shared.ops.tables import audit as audit_table
from shared.ops.tables import operations as operations_table
from shared.topics import SERVICES
from tests.shared.runtime.api.admin_apps import assert_problem, auth_headers, create_token

Database = psycopg.Connection[Any]
REWRITES = (
    "UPDATE ops.audit SET who = 'nobody'",
    "DELETE FROM ops.audit",
    "TRUNCATE ops.audit",
    "INSERT INTO ops.audit OVERRIDING SYSTEM VALUE TABLE ops.audit ON CONFLICT (id, at) DO UPDATE SET who = 'nobody'",
    "MERGE INTO ops.audit a USING (SELECT 1) x ON true WHEN MATCHED THEN DELETE",
)


def test_a_change_is_recorded_with_caller_action_before_and_after(client: httpx2.Client, database: Database) -> None:
    operation = operations_table.create(database, "cleaner", "replay", {}, "alice", "r-1")
    token = create_token(database, "night-shift", "operate")

    answer = client.post(
        f"/v1/operations/{int(operation.id)}/pause", headers=auth_headers(token) | {"X-Request-Id": "mine-4"}
    )

    (line,) = client.get("/v1/audit").json()["lines"]
    assert (line["service"], line["who"], line["request_id"]) == ("cleaner", "token:night-shift", "mine-4")
    assert (line["action"], line["target"], line["outcome"]) == ("pause", f"operation {operation.id}", "accepted")
    assert line["before"] == {"state": "waiting", "wanted": "run"}
    assert line["after"] == {"state": answer.json()["state"], "wanted": "pause"}


def test_a_refusal_is_recorded_with_its_reason(client: httpx2.Client) -> None:
    client.post("/v1/operations/7/cancel")

    (line,) = client.get("/v1/audit").json()["lines"]
    assert (line["who"], line["action"], line["target"]) == ("file token", "cancel", "operation 000000000007")
    assert line["outcome"].startswith("refused (404): cleaner has no operation 000000000007")


def test_an_invalid_change_is_recorded_too(client: httpx2.Client) -> None:
    client.post("/v1/operations/7/cancel", content=b"{", headers={"Content-Type": "application/json"})
    client.post("/v1/replays", content=b"x", headers={"Content-Type": "text/plain"})
    client.post("/v1/nowhere")
    client.get("/v1/operations/x")

    lines = client.get("/v1/audit").json()["lines"]
    assert [(line["action"], line["target"], line["outcome"]) for line in lines] == [
        ("request", "POST /v1/replays", "refused (415): Not JSON"),
        ("request", "POST /v1/operations/7/cancel", "refused (422): Invalid input"),
    ]


def test_invalid_changes_do_not_fill_the_trail(client: httpx2.Client) -> None:
    for number in range(20):
        assert client.post(f"/v1/operations/x{number}/cancel").status_code == 422

    (line,) = client.get("/v1/audit").json()["lines"]
    assert line["target"] == "POST /v1/operations/x0/cancel"


def test_pages_contain_every_line_once_newest_first(client: httpx2.Client, database: Database) -> None:
    for number in range(5):
        audit_table.append(database, "cleaner", "alice", "do", str(number))
        audit_table.append(database, "loader", "alice", "do", "elsewhere")

    first = client.get("/v1/audit?limit=3").json()
    second = client.get(f"/v1/audit?limit=3&before={first['next']}").json()

    assert [line["target"] for line in first["lines"] + second["lines"]] == ["4", "3", "2", "1", "0"]
    assert second["next"] is None


def test_invalid_paging_parameters_are_refused(client: httpx2.Client) -> None:
    for query in ("before=0", "before=x", f"before={2**63}", "limit=0", "limit=1001", "limit=1.5"):
        assert_problem(client.get(f"/v1/audit?{query}"), 422, "invalid-input")


def test_a_service_may_only_append_to_the_trail_and_read_it(database: Database) -> None:
    for service in SERVICES:
        database.execute(f"SET ROLE headrace_{service}")

        audit_table.append(database, service, "alice", "do", "this")
        for statement in REWRITES:
            with pytest.raises(psycopg.errors.InsufficientPrivilege, match="permission denied"):
                database.execute(statement)

        assert [line.who for line in audit_table.list_entries(database, service)] == ["alice"]
        assert _privileges(database, f"headrace_{service}") == {"INSERT", "SELECT"}


def test_the_owner_cannot_rewrite_the_trail_either(database: Database) -> None:
    audit_table.append(database, "cleaner", "alice", "do", "this")

    for statement in REWRITES:
        with pytest.raises(psycopg.errors.InsufficientPrivilege, match="append-only"):
            database.execute(statement)

    assert [line.who for line in audit_table.list_entries(database)] == ["alice"]


def _privileges(database: Database, role: str) -> set[str]:
    privileges = ("SELECT", "INSERT", "UPDATE", "DELETE", "TRUNCATE", "REFERENCES", "TRIGGER")
    return {
        name
        for name in privileges
        for (has,) in database.execute("SELECT has_table_privilege(%s, 'ops.audit', %s)", (role, name))
        if has
    }
