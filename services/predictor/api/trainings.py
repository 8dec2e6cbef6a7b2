"""Endpoints of trainings. A training is an operation, which one replica runs in a process of its own."""

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

    @router.get("", summary="List trainings, the newest first")
    def trainings(before: Before = None, limit: Limit = 100) -> OperationPage:
        """A page of operations of kind training. `counts` of a successful one holds the model's version and metrics."""
        return operation_page(desk, before, limit, [TRAINING])

    @router.post(
        "", status_code=202, summary="Train a model", response_model=OperationBody, responses=ACCEPTED | responses(409)
    )
    def train(request: Request, wish: Annotated[TrainingRequest | None, Body()] = None) -> Response:
        """Trains on the loaded settled events, in a process of low priority. The model becomes a candidate, and is
        promoted if it passes the gate. If the replica dies, another one starts the training again.

        409: another training has not finished.
        """
        wanted = wish or TrainingRequest()

        def work(connection: DbConnection) -> Answer:
            require_alone(connection, desk.service)
            return begun(connection, desk, request, TRAINING, wanted.model_dump(mode="json"))

        return carry_out(desk, request, TRAINING, f"seed {wanted.seed}, until {wanted.until or 'now'}", work)

    return router
