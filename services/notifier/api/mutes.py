"""The notifier's REST endpoints about mutes: for some time, a rule sends nothing."""

from __future__ import annotations

from collections.abc import Callable, Collection
from datetime import datetime, timedelta
from http import HTTPStatus
from typing import Annotated

from fastapi import APIRouter, Path, Request, Response
from pydantic import BaseModel, ConfigDict, Field
from pydantic.config import JsonDict
from starlette.exceptions import HTTPException

from services.notifier.storage import postgres_mutes as storage
from shared.database.connection import DbConnection
from shared.errors import ConfigError
from shared.ops.tokens import parse_duration
from shared.runtime.api.context import AdminContext
from shared.runtime.api.idempotent_change import ChangeResult, apply_change, caller_of
from shared.runtime.api.problems import responses

# A rule that is not wanted for longer should be removed from the rules.
MAX_MUTE = timedelta(days=30)

MUTE_EXAMPLE: JsonDict = {
    "id": 3, "rule": "stage-down", "until": "2026-01-31T11:00:00Z", "by": "token:night-shift",
    "created_at": "2026-01-31T09:00:00Z", "ended_at": None,
}  # fmt: skip
MuteId = Annotated[int, Path(ge=1, le=2**62, description="id of the mute", examples=[3])]


class MuteBody(BaseModel):
    """A time in which a rule sends nothing. What would have been sent is not sent later."""

    model_config = ConfigDict(from_attributes=True, json_schema_extra={"examples": [MUTE_EXAMPLE]})

    id: int
    rule: str
    until: datetime
    by: str
    created_at: datetime
    ended_at: datetime | None = Field(description="when an operator ended it; null if none did")


class MuteList(BaseModel):
    """The mutes that hold now."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"mutes": [MUTE_EXAMPLE]}]})

    mutes: list[MuteBody]


class MuteRequest(BaseModel):
    """The rule to mute, and for how long."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"rule": "stage-down", "for": "2h"}]})

    rule: str = Field(min_length=1, max_length=60, description="name of a rule")
    duration: str = Field(
        alias="for", pattern=r"^[0-9]{1,9}[smhdw]$", description="90s, 15m, 2h, 7d or 2w; at most 30 days"
    )


def router(context: AdminContext, rule_names: Callable[[], Collection[str]]) -> APIRouter:
    """`rule_names`: returns the names of the current rules."""
    router = APIRouter(prefix="/mutes", tags=["alerts"])

    @router.get("", summary="List mutes")
    def list_mutes() -> MuteList:
        """The mutes that hold now; the one that ends first at the front."""
        with context.transaction() as connection:
            mutes = storage.active_mutes(connection)
        return MuteList(mutes=[MuteBody.model_validate(each) for each in mutes])

    @router.post("", status_code=201, summary="Mute a rule", response_model=MuteBody)
    def start_mute(body: MuteRequest, request: Request) -> Response:
        """Sends nothing of the rule for some time, to any channel. Incidents still open and end."""

        def work(connection: DbConnection) -> ChangeResult:
            if body.rule not in (names := rule_names()):
                raise ConfigError(f"there is no rule {body.rule!r}; the rules: {', '.join(sorted(names))}")
            mute = storage.start_mute(connection, body.rule, _duration_of(body), caller_of(request).subject)
            after = {"mute": mute.id, "until": mute.until.isoformat()}
            return ChangeResult(HTTPStatus.CREATED, MuteBody.model_validate(mute), after=after)

        return apply_change(context, request, "mute", body.rule, work)

    @router.post("/{mute_id}/end", summary="End a mute", response_model=MuteBody, responses=responses(404))
    def end_mute(mute_id: MuteId, request: Request) -> Response:
        """Repeating the request, or ending a mute that is over, changes nothing."""

        def work(connection: DbConnection) -> ChangeResult:
            mute = storage.end_mute(connection, mute_id)
            if mute is None:
                raise HTTPException(HTTPStatus.NOT_FOUND, f"there is no mute {mute_id}; GET /v1/mutes lists them")
            return ChangeResult(HTTPStatus.OK, MuteBody.model_validate(mute), after={"rule": mute.rule})

        return apply_change(context, request, "unmute", f"mute {mute_id}", work)

    return router


def _duration_of(body: MuteRequest) -> timedelta:
    duration = parse_duration(body.duration)
    if not timedelta(0) < duration <= MAX_MUTE:
        raise ConfigError(f"for: expected more than 0 and at most {MAX_MUTE.days} days, got {body.duration!r}")
    return duration
