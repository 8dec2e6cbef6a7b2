"""The registry over REST: which models there are, what they are, and making them shadows, live or retired.

Nothing here loads a model. Where the stored predictions are too few for the gate, its decision becomes an operation,
which a process with torch works off (services/predictor/jobs/child_process.py).
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, date, datetime
from http import HTTPStatus
from pathlib import Path
from typing import Annotated, Any, Self

from fastapi import APIRouter, Body, HTTPException, Request, Response
from fastapi import Path as InPath
from pydantic import BaseModel, ConfigDict, Field, model_validator
from pydantic.config import JsonDict

from services.predictor.jobs.kinds import PROMOTION
from services.predictor.promotion.postgres_stored_duel import stored_duel
from services.predictor.promotion.verdict import verdict_on
from services.predictor.registry import model_files, state_file, transitions
from services.predictor.registry.gate import Verdict
from services.predictor.registry.model_files import PICTURE_PATTERN, VERSION_PATTERN
from services.predictor.registry.states import Book, Change, ModelState, Order
from shared.database.connection import DbConnection
from shared.errors import ConfigError
from shared.ops.operations import NotPossible
from shared.runtime.api.context import Desk
from shared.runtime.api.idempotent_change import ACCEPTED, KEY_HEADER, Answer, begun, caller_of, carry_out
from shared.runtime.api.problems import responses

Version = Annotated[
    str, InPath(pattern=VERSION_PATTERN, description="as GET /v1/models lists it", examples=["20260131-0a1b2c3d"])
]
PictureName = Annotated[
    str, InPath(pattern=PICTURE_PATTERN, description="one of the model's pictures", examples=["reliability"])
]
Reason = Annotated[str, Field(min_length=1, max_length=1000, pattern=r"\S")]
_MODEL: JsonDict = {
    "version": "20260131-0a1b2c3d", "state": "shadow", "since": "2026-02-01T03:00:00Z", "first_day": "2025-01-01",
    "last_day": "2026-01-31", "events": 52000, "seed": 7,
    "metrics": {"observation_result": 1.151, "observation_result_base": 1.358}, "problem": None,
}  # fmt: skip
_CHANGE: JsonDict = {
    "at": "2026-02-01T03:00:00Z", "who": "token:night-shift", "version": "20260131-0a1b2c3d", "before": "candidate",
    "after": "shadow", "why": "to see how it does", "gate": None, "request": None,
}  # fmt: skip
_VERDICT: JsonDict = {
    "passed": True, "decided": True, "why": "20260131-0a1b2c3d is better than 20251231-4d5e6f70 on 1000 ...",
    "against": "20251231-4d5e6f70", "source": "stored predictions",
    "figures": {"events": 1000, "difference": -0.006, "difference_at_most": -0.002},
}  # fmt: skip


class ModelBody(BaseModel):
    """A model of the registry, in short."""

    model_config = ConfigDict(json_schema_extra={"examples": [_MODEL]})

    version: str = Field(description="the last day of its data, and a hash over all of it")
    state: ModelState
    since: datetime | None = Field(description="when it became what it is; null: nobody wrote that down")
    first_day: str | None
    last_day: str | None = Field(description="of all its data, validation included")
    events: int | None = Field(description="that it was trained on")
    seed: int | None
    metrics: dict[str, float] = Field(description="on its validation days")
    problem: str | None = Field(description="why it cannot be used; null: nothing is seen. Weights are read when used")


class WholeModel(ModelBody):
    """A model of the registry, with all that is known of it."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{**_MODEL, "description": {"profile": "boatrace"}, "history": [_CHANGE],
                                         "pictures": ["reliability"]}]}
    )  # fmt: skip

    description: dict[str, Any] = Field(description="all of it but the weights")
    history: list[Change] = Field(description="what became of it, the oldest first")
    pictures: list[str] = Field(description="GET .../pictures/NAME.png")


class StepWish(BaseModel):
    """Why."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"reason": "to see how it does"}, {}]})

    reason: Reason | None = Field(default=None, description="kept with the change, for whoever comes next")


class PromotionWish(StepWish):
    """Why, and whether the gate is asked."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={"examples": [{}, {"force": True, "reason": "the live one reads a field that is gone"}]},
    )

    force: bool = Field(default=False, strict=True, description="whatever the gate would say; wants a reason")

    @model_validator(mode="after")
    def _says_why(self) -> Self:
        if self.force and self.reason is None:
            raise ValueError("`force` wants a `reason`")
        return self


class Stepped(BaseModel):
    """What a model is now, and which one is live."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"version": "20260131-0a1b2c3d", "before": "shadow", "state": "live", "live": "20260131-0a1b2c3d",
                 "was_live": "20251231-4d5e6f70", "gate": _VERDICT}
            ]
        }
    )  # fmt: skip

    version: str
    before: ModelState | None
    state: ModelState | None = Field(description="null: it is deleted")
    live: str | None
    was_live: str | None
    gate: Verdict | None = Field(description="what the gate said; null: it was not asked")


def router(desk: Desk, models: Path) -> APIRouter:
    """`models`: the registry's directory."""
    router = APIRouter(prefix="/models")
    _looking(router, models)
    _changing(desk, router, models)
    _promoting(desk, router, models)
    return router


def _looking(router: APIRouter, models: Path) -> None:
    @router.get("", summary="Models in the registry, the newest data first")
    def all_models() -> list[ModelBody]:
        """What each is, was trained on, and how it did. At most one is live; shadows predict beside it, silently."""
        return listed(models)

    @router.get("/{version}", summary="One model, whole", responses=responses(404))
    def one(version: Version) -> WholeModel:
        """Its description, metrics, pictures, and everything that became of it."""
        _require(models, version)
        return whole(models, version)

    @router.get(
        "/{version}/pictures/{name}.png", summary="A picture of a model", response_class=Response,
        responses=responses(404) | {200: {
            "description": "The picture",
            "content": {"image/png": {"schema": {"type": "string", "format": "binary"}, "example": "(a PNG)"}},
        }},
    )  # fmt: skip
    def picture(version: Version, name: PictureName) -> Response:
        """Such as its reliability diagram, as its training drew it."""
        _require(models, version)
        found = model_files.picture(models, version, name)
        if found is None:
            there = ", ".join(model_files.pictures(models, version)) or "none"
            raise HTTPException(HTTPStatus.NOT_FOUND, f"model {version} has no picture {name!r}; it has: {there}")
        return Response(found, media_type="image/png")


def _changing(desk: Desk, router: APIRouter, models: Path) -> None:
    def take(
        request: Request, action: str, version: str, wish: StepWish | None, step: Callable[[Path, str, Order],
        transitions.Steps],
    ) -> Response:  # fmt: skip
        def work(_connection: DbConnection) -> Answer:
            _require(models, version)
            return _answer(version, step(models, version, order_of(request, wish)))

        return carry_out(desk, request, action, f"model {version}", work)

    said: dict[str, Any] = {"response_model": Stepped, "responses": responses(404, 409)}

    @router.post("/{version}/shadow", summary="Let a model predict beside the live one", **said)
    def shadow(version: Version, request: Request, wish: Annotated[StepWish | None, Body()] = None) -> Response:
        """Its predictions are stored and marked; nobody is told of them. Saying it again changes nothing. 409: it is
        live; 422: its files cannot be used."""
        return take(request, "shadow", version, wish, transitions.shadow)

    @router.post("/{version}/retire", summary="Let a model predict no more", **said)
    def retire(version: Version, request: Request, wish: Annotated[StepWish | None, Body()] = None) -> Response:
        """A shadow or candidate. It can become a shadow again. 409: it is live: promote another, or roll back."""
        return take(request, "retire", version, wish, transitions.retire)

    @router.post("/{version}/delete", summary="Delete a model's files", **said)
    def delete(version: Version, request: Request, wish: Annotated[StepWish | None, Body()] = None) -> Response:
        """Nobody can go back to it. What it predicted stays. 409: it is live, or a shadow."""
        return take(request, "delete", version, wish, transitions.delete)


def _promoting(desk: Desk, router: APIRouter, models: Path) -> None:
    @router.post("/rollback", summary="Go back to the model before", response_model=Stepped, responses=responses(409))
    def rollback(request: Request, wish: Annotated[StepWish | None, Body()] = None) -> Response:
        """The one that was live before the live one is live again, at once; the live one is retired. Once more goes
        back one further. 409: none was live before; 422: its files cannot be used."""

        def work(_connection: DbConnection) -> Answer:
            before, after = transitions.roll_back(models, order_of(request, wish))
            return _answer(str(after.live), (before, after))

        return carry_out(desk, request, "rollback", "the live model", work)

    @router.post(
        "/{version}/promote", summary="Make a model the live one", response_model=Stepped,
        responses=ACCEPTED | responses(404, 409),
    )  # fmt: skip
    def promote(version: Version, request: Request, wish: Annotated[PromotionWish | None, Body()] = None) -> Response:
        """If the gate lets it pass: better than the live model, with confidence, on the newest settled events that
        both predicted and neither was fitted on, and no less honest. Where no model is live: better than the base rate.
        The one that was live is retired. Where both predicted too few events together, the answer is 202: an operation
        walks over the stored facts with both models, and promotes it or fails saying why.

        409: the gate says no, with all its figures, or the model is retired. `force` does not ask it.
        """

        def work(connection: DbConnection) -> Answer:
            _require(models, version)
            order, verdict = order_of(request, wish), None
            if wish is None or not wish.force:
                verdict = verdict_on(models, version, lambda duel: stored_duel(connection, duel))
                if verdict.against is not None and not verdict.decided:
                    target = {"version": version, "reason": order.why}
                    return begun(connection, desk, request, PROMOTION, target)
                if not verdict.passed:
                    raise NotPossible(verdict.why)
            return _answer(version, transitions.promote(models, version, order, verdict), verdict)

        return carry_out(desk, request, "promote", f"model {version}", work)


def order_of(request: Request, wish: StepWish | None) -> Order:
    """Who wants it and why. The files and the database are two commits: the key tells a repeated request by itself."""
    caller, key = caller_of(request), request.headers.get(KEY_HEADER)
    return Order(
        at=datetime.now(UTC), who=caller.subject, why=None if wish is None else wish.reason,
        request=None if key is None else f"{caller.subject} {request.url.path} {key}",
    )  # fmt: skip


def listed(models: Path) -> list[ModelBody]:
    """All of the registry, the newest data first."""
    book = state_file.read(models)
    return [_shown(models, book, version)[0] for version in model_files.versions(models)]


def whole(models: Path, version: str) -> WholeModel:
    """One that is there."""
    book = state_file.read(models)
    short, description = _shown(models, book, version)
    return WholeModel(
        **short.model_dump(), description=description, history=book.changes_of(version),
        pictures=model_files.pictures(models, version),
    )  # fmt: skip


def stepped(version: str, steps: transitions.Steps, verdict: Verdict | None = None) -> Stepped:
    before, after = steps
    return Stepped(
        version=version, before=before.states.get(version), state=after.states.get(version), live=after.live,
        was_live=before.live, gate=verdict,
    )  # fmt: skip


def _answer(version: str, steps: transitions.Steps, verdict: Verdict | None = None) -> Answer:
    done = stepped(version, steps, verdict)
    said = {"state": done.state, "live": done.live} | ({} if verdict is None else {"gate": verdict.why})
    return Answer(HTTPStatus.OK, done, before={"state": done.before, "live": done.was_live}, after=said)


def _require(models: Path, version: str) -> None:
    if not model_files.there(models, version):
        raise HTTPException(HTTPStatus.NOT_FOUND, f"there is no model {version}; GET /v1/models lists those there are")


def _shown(models: Path, book: Book, version: str) -> tuple[ModelBody, dict[str, Any]]:
    """In short, and its description; empty where it cannot be read."""
    description: dict[str, Any] = {}
    body, problem = {}, None
    try:
        body = model_files.body_of(models, version)
        description = body["description"]
    except ConfigError as error:
        problem = str(error)
    changes = book.changes_of(version)
    metrics = description.get("metrics")
    return ModelBody(
        version=version, state=book.state_of(version), since=changes[-1].at if changes else None,
        first_day=_day(description.get("first_day")), last_day=_day(body.get("last_day")),
        events=description.get("events"), seed=description.get("seed"),
        metrics=metrics if isinstance(metrics, dict) else {}, problem=problem,
    ), description  # fmt: skip


def _day(said: object) -> str | None:
    return date.fromisoformat(said).isoformat() if isinstance(said, str) else None
