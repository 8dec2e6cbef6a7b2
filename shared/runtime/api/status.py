"""How the service is: probes and metrics for machines, the status for people."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

from fastapi import APIRouter, Response
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from pydantic import BaseModel, ConfigDict, Field
from starlette.exceptions import HTTPException

from shared.runtime.api.context import Desk
from shared.runtime.api.problems import responses


class Status(BaseModel):
    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"service": "cleaner", "replica": "host-0", "state": "running", "detail": {"partitions": 6}}]
        }
    )

    service: str
    replica: str
    state: str = Field(
        description="starting, waiting for orders, standing by, running, paused, tripped, backing off, stopped"
    )
    detail: dict[str, Any] = Field(description="what this service has to tell of itself")


class Probe(BaseModel):
    model_config = ConfigDict(json_schema_extra={"examples": [{"status": "ready"}]})

    status: str


def probes(desk: Desk, registry: CollectorRegistry) -> APIRouter:
    """Outside /v1: they need no token."""
    router = APIRouter(tags=["probes"])
    view = desk.view

    # Not in a thread: that all threads are busy answering is no reason to restart the service.
    @router.get("/livez", summary="Is it alive?", responses=responses(503))
    async def livez() -> Probe:
        """Whether the loop has ticked lately, whatever its dependencies do. 503: restart it."""
        if not view.alive():
            raise HTTPException(HTTPStatus.SERVICE_UNAVAILABLE, "the loop has not ticked for too long; restart it")
        return Probe(status="alive")

    @router.get("/readyz", summary="Can it work?", responses=responses(503))
    def readyz() -> Probe:
        """Whether its dependencies answer, its orders are read and it has joined its group. Paused is ready too."""
        ready, why = view.ready()
        if not ready:
            raise HTTPException(HTTPStatus.SERVICE_UNAVAILABLE, f"not ready: {why}")
        return Probe(status="ready")

    example = {"schema": {"type": "string"}, "example": "headrace_rebalances_total 0.0\n"}

    @router.get(
        "/metrics",
        summary="Metrics for Prometheus",
        response_class=Response,
        responses={200: {"description": "Metrics as text", "content": {CONTENT_TYPE_LATEST: example}}},
    )
    def metrics() -> Response:
        """All metrics of the service; docs/metrics.md says what they are."""
        return Response(generate_latest(registry), media_type=CONTENT_TYPE_LATEST)

    return router


def router(desk: Desk) -> APIRouter:
    router = APIRouter(tags=["status"])

    @router.get("/status", summary="How the service is")
    def status() -> Status:
        """What it does now, and what it has to tell of itself."""
        return Status(**desk.view.status())

    return router
