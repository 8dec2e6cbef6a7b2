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

from services.predictor.api.model_bodies import PromotionWish, Stepped, StepWish
from services.predictor.api.models import Version, require
from services.predictor.jobs.kinds import PROMOTION
from services.predictor.promotion.postgres_stored_duel import stored_duel
from services.predictor.promotion.verdict import verdict_on
from services.predictor.registry import transitions
from services.predictor.registry.gate import Verdict
from services.predictor.registry.states import Order
from shared.database.connection import DbConnection
from shared.ops.operations import NotPossible
from shared.runtime.api.context import Desk
from shared.runtime.api.idempotent_change import ACCEPTED, KEY_HEADER, Answer, begun, caller_of, carry_out
from shared.runtime.api.problems import responses

Step = Annotated[StepWish | None, Body()]


def router(desk: Desk, models: Path) -> APIRouter:
    """`models`: the registry's directory."""
    router = APIRouter(prefix="/models")
    _changing(desk, router, models)
    _promoting(desk, router, models)
    return router


def _changing(desk: Desk, router: APIRouter, models: Path) -> None:
    def take(
        request: Request, action: str, version: str, wish: StepWish | None, step: transitions.Transition
    ) -> Response:
        def work(_connection: DbConnection) -> Answer:
            require(models, version)
            return _answer(version, step(models, version, order_of(request, wish)))

        return carry_out(desk, request, action, f"model {version}", work)

    said: dict[str, Any] = {"response_model": Stepped, "responses": responses(404, 409)}

    @router.post("/{version}/shadow", summary="Run a model as a shadow", **said)
    def shadow(version: Version, request: Request, wish: Step = None) -> Response:
        """A shadow predicts beside the live model. Its predictions are stored and marked, and cause no notification.
        Repeating the request changes nothing. 409: the model is live. 422: its files cannot be used."""
        return take(request, "shadow", version, wish, transitions.shadow)

    @router.post("/{version}/retire", summary="Retire a model", **said)
    def retire(version: Version, request: Request, wish: Step = None) -> Response:
        """Stops the predictions of a shadow, or sets a candidate aside. A retired model can become a shadow again. 409:
        the model is live; promote another one, or roll back."""
        return take(request, "retire", version, wish, transitions.retire)

    @router.post("/{version}/delete", summary="Delete a model's files", **said)
    def delete(version: Version, request: Request, wish: Step = None) -> Response:
        """The model cannot be restored. Its predictions are kept. 409: the model is live or a shadow."""
        return take(request, "delete", version, wish, transitions.delete)


def _promoting(desk: Desk, router: APIRouter, models: Path) -> None:
    @router.post(
        "/rollback", summary="Roll back to the previous model", response_model=Stepped, responses=responses(409)
    )
    def rollback(request: Request, wish: Step = None) -> Response:
        """The previous live model becomes live at once, and the live model is retired. Another rollback goes back one
        model further. 409: there is no previous live model. 422: its files cannot be used."""

        def work(_connection: DbConnection) -> Answer:
            before, after = transitions.roll_back(models, order_of(request, wish))
            return _answer(str(after.live), (before, after))

        return carry_out(desk, request, "rollback", "the live model", work)

    @router.post(
        "/{version}/promote",
        summary="Promote a model to live",
        response_model=Stepped,
        responses=ACCEPTED | responses(404, 409),
    )
    def promote(version: Version, request: Request, wish: Annotated[PromotionWish | None, Body()] = None) -> Response:
        """The model must pass the gate: its log-loss is lower than the live model's, with confidence, and its
        calibration is no worse, on the newest settled events that both predicted and neither was fitted to. If no model
        is live, it must be better than the base rate. The previous live model is retired. If both predicted too few
        events, the answer is 202: an operation lets both models predict the stored events, and promotes the model or
        fails with the reason.

        409: the model does not pass the gate (the detail has the figures), or it is retired. `force` skips the gate.
        """

        def work(connection: DbConnection) -> Answer:
            require(models, version)
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
    """Who requests the change, and why. The files and the database are committed separately, so the idempotency key is
    stored with the change to detect a repeated request."""
    caller, key = caller_of(request), request.headers.get(KEY_HEADER)
    return Order(
        at=datetime.now(UTC),
        who=caller.subject,
        why=None if wish is None else wish.reason,
        request=None if key is None else f"{caller.subject} {request.url.path} {key}",
    )


def stepped(version: str, steps: transitions.Steps, verdict: Verdict | None = None) -> Stepped:
    before, after = steps
    was, state = before.states.get(version), after.states.get(version)
    return Stepped(version=version, before=was, state=state, live=after.live, was_live=before.live, gate=verdict)


def _answer(version: str, steps: transitions.Steps, verdict: Verdict | None = None) -> Answer:
    done = stepped(version, steps, verdict)
    said = {"state": done.state, "live": done.live} | ({} if verdict is None else {"gate": verdict.why})
    return Answer(HTTPStatus.OK, done, before={"state": done.before, "live": done.was_live}, after=said)
