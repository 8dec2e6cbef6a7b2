"""Serves probes and metrics for machines, and the status of the service for people."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

from fastapi import APIRouter, Request, Response
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from pydantic import BaseModel, ConfigDict, Field
from starlette.exceptions import HTTPException

from shared.runtime.api.context import AdminContext
from shared.runtime.api.problems import responses


class ServiceStatus(BaseModel):
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
    detail: dict[str, Any] = Field(description="details that depend on the service")


class Probe(BaseModel):
    model_config = ConfigDict(json_schema_extra={"examples": [{"status": "ready"}]})

    status: str


def probes(context: AdminContext, registry: CollectorRegistry) -> APIRouter:
    """Endpoints outside /v1, which need no token."""
    router = APIRouter(tags=["probes"])
    view = context.view

    # Async, so it needs no worker thread: busy threads are no reason to restart the service.
    @router.get("/livez", summary="Check liveness", responses=responses(503))
    async def check_liveness() -> Probe:
        """Tells whether the loop has ticked lately, regardless of its dependencies. 503: restart the service."""
        if not view.alive():
            raise HTTPException(
                HTTPStatus.SERVICE_UNAVAILABLE, "the loop has not ticked for too long; restart the service"
            )
        return Probe(status="alive")

    @router.get("/readyz", summary="Check readiness", responses=responses(503))
    def check_readiness(request: Request) -> Probe:
        """Tells whether its dependencies answer, its orders are read and it has joined its group. A paused service is
        ready. The cause, which may name hosts and records, is only given to a caller with a token."""
        ready, why = view.ready()
        if not ready:
            is_stranger = getattr(request.state, "caller", None) is None
            raise HTTPException(
                HTTPStatus.SERVICE_UNAVAILABLE, f"not ready: {'send a token to see why' if is_stranger else why}"
            )
        return Probe(status="ready")

    example = {"schema": {"type": "string"}, "example": "headrace_rebalances_total 0.0\n"}

    @router.get(
        "/metrics",
        summary="Get metrics for Prometheus",
        response_class=Response,
        responses={200: {"description": "Metrics as text", "content": {CONTENT_TYPE_LATEST: example}}},
    )
    def get_metrics() -> Response:
        """Returns all metrics of the service in Prometheus text format; docs/metrics.md describes them."""
        return Response(generate_latest(registry), media_type=CONTENT_TYPE_LATEST)

    return router


def router(context: AdminContext) -> APIRouter:
    router = APIRouter(tags=["status"])

    @router.get("/status", summary="Get the status")
    def get_status() -> ServiceStatus:
        """Returns the state of this replica and details that depend on the service."""
        return ServiceStatus(**context.view.status())

    return router
