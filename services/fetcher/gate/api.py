"""REST endpoints of the fetcher's gates: what the requests to each host wait for, and how an operator ends the wait."""

from __future__ import annotations

from datetime import datetime
from http import HTTPStatus
from typing import Annotated, Literal

from fastapi import APIRouter, Path, Request, Response
from pydantic import BaseModel, ConfigDict, Field
from pydantic.config import JsonDict
from starlette.exceptions import HTTPException

from services.fetcher.gate.postgres_gate import HostGate, gates, reset_gate
from services.fetcher.gate.state import Wait, closed_wait
from shared.database.connection import DbConnection
from shared.runtime.api.context import AdminContext
from shared.runtime.api.idempotent_change import ChangeResult, apply_change
from shared.runtime.api.problems import responses

GATE_EXAMPLE: JsonDict = {
    "host": "boatraceopenapi.github.io", "breaker": "closed", "waits_for": "retry-after",
    "until": "2026-01-31T09:02:00Z", "in_flight": 0, "live_waiting": 1, "failures": {"results": 2},
    "requested_wait_s": 120.0, "is_cut": False,
}  # fmt: skip
Host = Annotated[
    str,
    Path(max_length=300, description="the host, with its port if the source declares one", examples=["127.0.0.1:8790"]),
]


class GateBody(BaseModel):
    """The gate of a host. All replicas of the fetcher share it."""

    model_config = ConfigDict(json_schema_extra={"examples": [GATE_EXAMPLE]})

    host: str
    breaker: Literal["closed", "open", "half-open"] = Field(
        description="`open`: too many requests failed in a row, none is made; `half-open`: one is made, to try"
    )
    waits_for: Literal["retry-after", "breaker"] | None = Field(
        description="why no request is made now; null if requests are made within the budget"
    )
    until: datetime | None = Field(description="until when no request is made")
    in_flight: int = Field(description="requests under way; not counted for a budget without limits")
    live_waiting: int = Field(description="requests for the current day that wait for their turn")
    failures: dict[str, int] = Field(description="failed requests in a row, by feed")
    requested_wait_s: float | None = Field(description="seconds that the server asked to wait, while it holds")
    is_cut: bool = Field(description="whether that was longer than `budget.max_retry_after_s`, which holds instead")


class GateList(BaseModel):
    """The gates of all hosts that documents were fetched from."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"gates": [GATE_EXAMPLE]}]})

    gates: list[GateBody]


def router(context: AdminContext) -> APIRouter:
    router = APIRouter(prefix="/gates", tags=["fetcher"])

    @router.get("", summary="List gates")
    def list_gates() -> GateList:
        """What the requests to each host wait for, and until when."""
        with context.transaction() as connection:
            return GateList(gates=[_body(gate) for gate in gates(connection)])

    @router.post("/{host}/reset", summary="Reset a gate", response_model=GateBody, responses=responses(404))
    def reset_host_gate(host: Host, request: Request) -> Response:
        """Makes requests again although the breaker is open or the server asked to wait. The budget holds as before.
        Windows that were put back are fetched within half a minute."""

        def work(connection: DbConnection) -> ChangeResult:
            if not reset_gate(connection, host):
                raise HTTPException(HTTPStatus.NOT_FOUND, f"there is no gate of {host}; GET /v1/gates lists them")
            body = next(_body(gate) for gate in gates(connection) if gate.host == host)
            return ChangeResult(HTTPStatus.OK, body, after={"breaker": body.breaker})

        return apply_change(context, request, "reset gate", host, work)

    return router


def _body(gate: HostGate) -> GateBody:
    state, wait = gate.state, closed_wait(gate.state, gate.now)
    throttle = state.throttle if wait is not None and wait.reason == "retry-after" else None
    return GateBody(
        host=gate.host,
        breaker=state.breaker.state,
        waits_for=None if wait is None else _reason(wait),
        until=None if wait is None else gate.at(gate.now + wait.seconds),
        in_flight=sum(turn.expires_at > gate.now for turn in state.turns),
        live_waiting=sum(until > gate.now for until in state.waiting.values()),
        failures=state.breaker.failures,
        requested_wait_s=throttle and throttle.requested_s,
        is_cut=throttle is not None and throttle.is_cut,
    )


def _reason(wait: Wait) -> Literal["retry-after", "breaker"]:
    return "breaker" if wait.reason == "breaker" else "retry-after"
