"""Endpoints of trainings. A training is an operation, which one replica runs in a process of its own."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Body, Request, Response

from services.predictor.jobs.kinds import TRAINING, require_no_open_training
from services.predictor.training.request import TrainingRequest
from shared.database.connection import DbConnection
from shared.runtime.api.context import AdminContext
from shared.runtime.api.idempotent_change import ACCEPTED, ChangeResult, OperationBody, apply_change, start_operation
from shared.runtime.api.operations import Before, OperationPage, operation_page
from shared.runtime.api.paging import Limit
from shared.runtime.api.problems import responses


def router(context: AdminContext) -> APIRouter:
    router = APIRouter(prefix="/trainings")

    @router.get("", summary="List trainings, the newest first")
    def list_trainings(before: Before = None, limit: Limit = 100) -> OperationPage:
        """A page of operations of kind training. `counts` of a successful one holds the model's version and metrics."""
        return operation_page(context, before, limit, [TRAINING])

    @router.post(
        "", status_code=202, summary="Train a model", response_model=OperationBody, responses=ACCEPTED | responses(409)
    )
    def start_training(request: Request, body: Annotated[TrainingRequest | None, Body()] = None) -> Response:
        """Trains on the loaded settled events, in a process of low priority. The model becomes a candidate, and is
        promoted if it passes the gate. If the replica dies, another one starts the training again.

        409: another training has not finished.
        """
        training = body or TrainingRequest()

        def work(connection: DbConnection) -> ChangeResult:
            require_no_open_training(connection, context.service)
            return start_operation(connection, context, request, TRAINING, training.model_dump(mode="json"))

        return apply_change(context, request, TRAINING, f"seed {training.seed}, until {training.until or 'now'}", work)

    return router
