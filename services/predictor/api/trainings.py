"""Trainings over REST: ordered here, worked off by one replica in a process of its own."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Body, Request, Response

from services.predictor.jobs.kinds import TRAINING, require_alone
from services.predictor.training.request import TrainingRequest
from shared.database.connection import DbConnection
from shared.runtime.api.context import Desk
from shared.runtime.api.idempotent_change import ACCEPTED, Answer, OperationBody, begun, carry_out
from shared.runtime.api.operations import Before, OperationPage, operation_page
from shared.runtime.api.paging import Limit
from shared.runtime.api.problems import responses


def router(desk: Desk) -> APIRouter:
    router = APIRouter(prefix="/trainings")

    @router.get("", summary="Trainings, the newest first")
    def trainings(before: Before = None, limit: Limit = 100) -> OperationPage:
        """A page of operations of kind training; `counts` of one that is over holds the model's version and metrics."""
        return operation_page(desk, before, limit, [TRAINING])

    @router.post(
        "", status_code=202, summary="Train a model", response_model=OperationBody, responses=ACCEPTED | responses(409)
    )
    def train(request: Request, wish: Annotated[TrainingRequest | None, Body()] = None) -> Response:
        """On all settled events that are loaded, beside the predicting, at low priority. The model becomes a candidate,
        and is promoted where the gate lets it pass. A replica that dies is replaced by another, which starts over.

        409: another training is not over.
        """
        wanted = wish or TrainingRequest()

        def work(connection: DbConnection) -> Answer:
            require_alone(connection, desk.service)
            return begun(connection, desk, request, TRAINING, wanted.model_dump(mode="json"))

        return carry_out(desk, request, TRAINING, f"seed {wanted.seed}, until {wanted.until or 'now'}", work)

    return router
