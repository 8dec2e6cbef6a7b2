"""The admin app of a service: probes and metrics for machines, /v1 for people and programs with the token.

It answers from a view that the loop keeps up to date, in threads of its own, and never touches a consumer.
"""

from __future__ import annotations

import hmac
import socket
import threading
from collections.abc import Callable
from http import HTTPStatus
from pathlib import Path
from types import TracebackType
from typing import Annotated, Any, Protocol, Self

import uvicorn
from fastapi import APIRouter, Depends, FastAPI, HTTPException, Response
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from pydantic import BaseModel, Field

from shared.errors import ConfigError
from shared.runtime.problems import Problem, install, responses
from shared.settings import AdminSettings, read_secret

HOW_TO_OPEN_V1 = (
    "this service has no admin token: write one into a file, name the file in admin.token_file "
    "(HEADRACE_ADMIN__TOKEN_FILE) and restart it"
)
STOP_TIMEOUT_S = 2.0
_BEARER = HTTPBearer(auto_error=False)  # what is wrong with a token is told by _bearer


class ServiceView(Protocol):
    """What a loop shows of itself. Called from other threads than the loop's: give values, not live objects."""

    def alive(self) -> bool:
        """Whether the loop has ticked within a few of its intervals, whatever its dependencies do."""
        ...

    def ready(self) -> tuple[bool, str]:
        """Whether it can do its work (dependencies reachable, partitions assigned), and if not, why."""
        ...

    def status(self) -> dict[str, Any]:
        """`service`, `replica`, `state` (as `Status` says) and `detail`, a dict."""
        ...

    def lag(self) -> list[dict[str, Any]]:
        """One dict a partition: `topic`, `partition`, `position`, `end`, `records`. May raise TransientError."""
        ...


class Status(BaseModel):
    service: str
    replica: str
    state: str = Field(description="starting, standing by, running, tripped, backing off or stopped")
    detail: dict[str, Any]


class Lag(BaseModel):
    topic: str
    partition: int
    position: int = Field(description="offset of the next record to handle")
    end: int = Field(description="offset that the next appended record will get")
    records: int = Field(description="how many records wait")


class Probe(BaseModel):
    status: str


def admin_app(view: ServiceView, registry: CollectorRegistry, token: str | None) -> FastAPI:
    """The app; `token` is what /v1 wants as a bearer token, None lets nobody in there."""
    name = view.status()["service"]
    app = FastAPI(title=f"Headrace {name}", version="1", docs_url=None, redoc_url=None)
    install(app)
    app.include_router(_probes(view, registry))
    app.include_router(_v1(view, token))
    schema = app.openapi()  # made once, here: the problems of all routes share one schema
    schema.setdefault("components", {}).setdefault("schemas", {})["Problem"] = Problem.model_json_schema()
    return app


def _probes(view: ServiceView, registry: CollectorRegistry) -> APIRouter:
    router = APIRouter(tags=["probes"])

    @router.get("/livez", responses=responses(503))
    def livez() -> Probe:
        if not view.alive():
            raise HTTPException(HTTPStatus.SERVICE_UNAVAILABLE, "the loop has not ticked for too long; restart it")
        return Probe(status="alive")

    @router.get("/readyz", responses=responses(503))
    def readyz() -> Probe:
        ready, why = view.ready()
        if not ready:
            raise HTTPException(HTTPStatus.SERVICE_UNAVAILABLE, f"not ready: {why}")
        return Probe(status="ready")

    @router.get("/metrics", response_class=Response, responses={200: {"content": {CONTENT_TYPE_LATEST: {}}}})
    def metrics() -> Response:
        return Response(generate_latest(registry), media_type=CONTENT_TYPE_LATEST)

    return router


def _v1(view: ServiceView, token: str | None) -> APIRouter:
    router = APIRouter(prefix="/v1", tags=["v1"], dependencies=[Depends(_bearer(token))], responses=responses(401))

    @router.get("/status")
    def status() -> Status:
        return Status(**view.status())

    @router.get("/lag", responses=responses(503))
    def lag() -> list[Lag]:
        return [Lag(**partition) for partition in view.lag()]

    return router


def _bearer(token: str | None) -> Callable[..., None]:
    def check(given: Annotated[HTTPAuthorizationCredentials | None, Depends(_BEARER)]) -> None:
        if token is None:
            raise _unauthorized(HOW_TO_OPEN_V1)
        if given is None:
            raise _unauthorized("send the token of admin.token_file: Authorization: Bearer TOKEN")
        if not hmac.compare_digest(given.credentials.encode(), token.encode()):
            raise _unauthorized("this is not the token of admin.token_file")

    return check


def _unauthorized(detail: str) -> HTTPException:
    return HTTPException(HTTPStatus.UNAUTHORIZED, detail, headers={"WWW-Authenticate": 'Bearer realm="headrace"'})


class AdminServer:
    """Serves an app from a thread, on a socket bound when this is made, so that the port is known at once."""

    def __init__(self, app: FastAPI, host: str = "127.0.0.1", port: int = 0) -> None:
        self._socket = _bound(host, port)
        bound: tuple[Any, ...] = self._socket.getsockname()
        self.port: int = bound[1]
        self.url = f"http://[{host}]:{self.port}" if ":" in host else f"http://{host}:{self.port}"
        config = uvicorn.Config(app, log_config=None, access_log=False, lifespan="off", server_header=False)
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._server.run, args=([self._socket],), name="admin", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.should_exit = True
        self._thread.join(STOP_TIMEOUT_S)
        self._socket.close()


def admin_server(view: ServiceView, registry: CollectorRegistry, settings: AdminSettings) -> AdminServer:
    """The server as settings want it. Raises ConfigError for a port that is taken or a token that is not there."""
    return AdminServer(admin_app(view, registry, _token(settings.token_file)), settings.host, settings.port)


def _token(file: Path | None) -> str | None:
    return None if file is None else read_secret(file)


def _bound(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((host, port))
        listening.listen(128)  # before the thread runs, so that a caller who knows the URL is not refused
    except OSError as error:
        listening.close()
        raise ConfigError(
            f"cannot listen on {host}:{port} for the admin app ({error.strerror}); "
            f"choose another admin.host or admin.port, or port 0 for a free one"
        ) from error
    return listening
