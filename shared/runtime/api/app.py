"""Builds the admin app of a service: probes and metrics without a token, and the REST API below /v1.

Requests run in their own threads, on the database connections of AdminContext, and never touch a consumer. A request
passes RequestCountMiddleware, RequestIdMiddleware, AdmissionMiddleware (admission.py), UrlMiddleware, AuthMiddleware
(auth.py), BodyMiddleware (validation.py) and the endpoint; problems.py turns every error into a problem document.
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from urllib.parse import urlsplit

from fastapi import APIRouter, Depends, FastAPI
from prometheus_client import CollectorRegistry

from shared.runtime.api import audit, auth, dead_letters, lag, openapi, operations, problems, status, topics, validation
from shared.runtime.api.admission import AdmissionMiddleware
from shared.runtime.api.auth import IsFileToken
from shared.runtime.api.connection_table import DEFAULT_LIMITS, ConnectionLimits
from shared.runtime.api.context import AdminContext
from shared.runtime.api.request_count import CountRequest, RequestCountMiddleware
from shared.settings.admin import AdminSettings

# The endpoints that every service has below /v1.
ROUTERS: tuple[Callable[[AdminContext], APIRouter], ...] = (
    status.router, topics.router, lag.router, operations.router, dead_letters.router, audit.router,
)  # fmt: skip


def admin_app(
    context: AdminContext,
    registry: CollectorRegistry,
    is_file_token: IsFileToken | None,
    count_request: CountRequest = lambda *_: None,
    limits: ConnectionLimits = DEFAULT_LIMITS,
) -> FastAPI:
    """Builds the app. `is_file_token` tells the token that gives access to all of /v1; if None, only tokens of the
    database do.

    The operation id of an endpoint is the name of its function, which must be unique within a service.
    """
    app = FastAPI(
        title=f"Headrace {context.service}",
        version="1",
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        description=openapi.DESCRIPTION,
        generate_unique_id_function=lambda route: route.name,
    )
    app.include_router(status.probes(context, registry))
    for router in (make(context) for make in (*ROUTERS, *context.routers)):
        app.include_router(router, prefix=auth.PROTECTED, dependencies=[Depends(validation.require_known_parameters)])
    # Middleware added last runs first.
    app.add_middleware(validation.BodyMiddleware)
    app.add_middleware(auth.AuthMiddleware, context, is_file_token)
    app.add_middleware(validation.UrlMiddleware)
    app.add_middleware(AdmissionMiddleware, limits, own_hosts(context.settings.admin))
    problems.install(app)
    app.add_middleware(RequestCountMiddleware, count_request)
    openapi.complete_document(app)
    return app


def own_hosts(settings: AdminSettings) -> frozenset[str]:
    """The names by which the service may be addressed, beside loopback and the address of the connection."""
    advertised = urlsplit(settings.advertised_url or "").hostname
    return frozenset({settings.host, socket.gethostname(), *settings.allowed_hosts, advertised or settings.host})
