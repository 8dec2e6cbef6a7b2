"""Endpoints that change the state of a model: shadow, promote, roll back, retire, delete.

If there are too few stored predictions for the gate, the promotion becomes an operation, which a process with torch
runs (services/predictor/jobs/child_process.py).
"""

from __future__ import annotations

from datetime import UTC, datetime
from http import HTTPStatus
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, Body, Request, Response

from services.predictor.api.model_bodies import PromotionRequest, StateChangeRequest, StateChangeResult
from services.predictor.api.models import Version, require_model
from services.predictor.jobs.kinds import PROMOTION
from services.predictor.promotion.postgres_stored_duel import stored_duel
from services.predictor.promotion.verdict import verdict_on
from services.predictor.registry import transitions
from services.predictor.registry.gate import Verdict
from services.predictor.registry.states import ChangeRequest
from shared.database.connection import DbConnection
from shared.ops.operations import NotPossible
from shared.runtime.api.auth import ADMIN_ONLY
from shared.runtime.api.context import AdminContext
from shared.runtime.api.idempotent_change import (
    ACCEPTED,
    KEY_HEADER,
    ChangeResult,
    apply_change,
    caller_of,
    start_operation,
)
from shared.runtime.api.problems import responses

StateChangeBody = Annotated[StateChangeRequest | None, Body()]


def router(context: AdminContext, models: Path) -> APIRouter:
    """`models`: the registry's directory."""
    router = APIRouter(prefix="/models")
    _add_state_changes(context, router, models)
    _add_promotions(context, router, models)
    return router


def _add_state_changes(context: AdminContext, router: APIRouter, models: Path) -> None:
    def change_state(
        request: Request, action: str, version: str, body: StateChangeRequest | None, step: transitions.Transition
    ) -> Response:
        def work(_connection: DbConnection) -> ChangeResult:
            require_model(models, version)
            return _answer(version, step(models, version, change_request_of(request, body)))

        return apply_change(context, request, action, f"model {version}", work)

    options: dict[str, Any] = {"response_model": StateChangeResult, "responses": responses(404, 409)}

    @router.post("/{version}/shadow", summary="Run a model as a shadow", **options)
    def shadow_model(version: Version, request: Request, body: StateChangeBody = None) -> Response:
        """A shadow predicts beside the live model. Its predictions are stored and marked, and cause no notification.
        Repeating the request changes nothing. 409: the model is live. 422: its files cannot be used."""
        return change_state(request, "shadow", version, body, transitions.shadow)

    @router.post("/{version}/retire", summary="Retire a model", **options)
    def retire_model(version: Version, request: Request, body: StateChangeBody = None) -> Response:
        """Stops the predictions of a shadow, or sets a candidate aside. A retired model can become a shadow again. 409:
        the model is live; promote another one, or roll back."""
        return change_state(request, "retire", version, body, transitions.retire)

    @router.post("/{version}/delete", summary="Delete a model's files", **options, **ADMIN_ONLY)
    def delete_model(version: Version, request: Request, body: StateChangeBody = None) -> Response:
        """The model cannot be restored. Its predictions are kept. 409: the model is live or a shadow."""
        return change_state(request, "delete", version, body, transitions.delete)


def _add_promotions(context: AdminContext, router: APIRouter, models: Path) -> None:
    @router.post(
        "/rollback",
        summary="Roll back to the previous model",
        response_model=StateChangeResult,
        responses=responses(409),
    )
    def roll_back_model(request: Request, body: StateChangeBody = None) -> Response:
        """The previous live model becomes live at once, and the live model is retired. Another rollback goes back one
        model further. 409: there is no previous live model. 422: its files cannot be used."""

        def work(_connection: DbConnection) -> ChangeResult:
            before, after = transitions.roll_back(models, change_request_of(request, body))
            return _answer(str(after.live), (before, after))

        return apply_change(context, request, "rollback", "the live model", work)

    @router.post(
        "/{version}/promote",
        summary="Promote a model to live",
        response_model=StateChangeResult,
        responses=ACCEPTED | responses(404, 409),
    )
    def promote_model(
        version: Version, request: Request, body: Annotated[PromotionRequest | None, Body()] = None
    ) -> Response:
        """The model must pass the gate: its log-loss is lower than the live model's, with confidence, and its
        calibration is no worse, on the newest settled events that both predicted and neither was fitted to. If no model
        is live, it must be better than the base rate. The previous live model is retired. If both predicted too few
        events, the answer is 202: an operation lets both models predict the stored events, and promotes the model or
        fails with the reason.

        409: the model does not pass the gate (the detail has the figures), or it is retired. `force` skips the gate.
        """

        def work(connection: DbConnection) -> ChangeResult:
            require_model(models, version)
            change_request, verdict = change_request_of(request, body), None
            if body is None or not body.force:
                verdict = verdict_on(models, version, lambda duel: stored_duel(connection, duel))
                if verdict.against is not None and not verdict.decided:
                    target = {"version": version, "reason": change_request.why}
                    return start_operation(connection, context, request, PROMOTION, target)
                if not verdict.passed:
                    raise NotPossible(verdict.why)
            return _answer(version, transitions.promote(models, version, change_request, verdict), verdict)

        return apply_change(context, request, "promote", f"model {version}", work)


def change_request_of(request: Request, body: StateChangeRequest | None) -> ChangeRequest:
    """Who requests the change, and why. The files and the database are committed separately, so the idempotency key is
    stored with the change to detect a repeated request."""
    caller, key = caller_of(request), request.headers.get(KEY_HEADER)
    return ChangeRequest(
        at=datetime.now(UTC),
        who=caller.subject,
        why=None if body is None else body.reason,
        request=None if key is None else f"{caller.subject} {request.url.path} {key}",
    )


def state_change_result(
    version: str, steps: transitions.BeforeAndAfter, verdict: Verdict | None = None
) -> StateChangeResult:
    before, after = steps
    state_before, state = before.states.get(version), after.states.get(version)
    return StateChangeResult(
        version=version, before=state_before, state=state, live=after.live, was_live=before.live, gate=verdict
    )


def _answer(version: str, steps: transitions.BeforeAndAfter, verdict: Verdict | None = None) -> ChangeResult:
    result = state_change_result(version, steps, verdict)
    after = {"state": result.state, "live": result.live} | ({} if verdict is None else {"gate": verdict.why})
    return ChangeResult(HTTPStatus.OK, result, before={"state": result.before, "live": result.was_live}, after=after)
