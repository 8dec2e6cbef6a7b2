"""The admin app of a service: probes and metrics for machines, /v1 for people and programs with a token.

It answers in threads of its own, with the desk's own lines, and never touches a consumer. The way of a request:
RequestIds, CleanUrls, Doors (auth.py), Bodies (intake.py), the endpoint; problems.py makes every error a problem.
"""

from __future__ import annotations

from collections.abc import Callable

from fastapi import APIRouter, Depends, FastAPI
from prometheus_client import CollectorRegistry

from shared.runtime.api import audit, auth, dead_letters, lag, openapi, operations, problems, status, topics, validation
from shared.runtime.api.context import Desk

# What every service has below /v1.
ROUTERS: tuple[Callable[[Desk], APIRouter], ...] = (
    status.router, topics.router, lag.router, operations.router, dead_letters.router, audit.router,
)  # fmt: skip


def admin_app(desk: Desk, registry: CollectorRegistry, file_token: str | None) -> FastAPI:
    """`file_token` opens everything below /v1; without one, only tokens of the database do."""
    app = FastAPI(
        title=f"Headrace {desk.service}",
        version="1",
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        description=openapi.DESCRIPTION,
    )
    app.include_router(status.probes(desk, registry))
    for router in (make(desk) for make in (*ROUTERS, *desk.routers)):
        app.include_router(router, prefix=auth.PROTECTED, dependencies=[Depends(validation.known_parameters)])
    # The last one added is the first to see a request.
    app.add_middleware(validation.Bodies)
    app.add_middleware(auth.Doors, desk=desk, file_token=file_token)
    app.add_middleware(validation.CleanUrls)
    problems.install(app)
    openapi.complete(app)
    return app
