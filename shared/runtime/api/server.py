"""Runs the admin app's HTTP server in a thread beside the loop, on a port that is known before the thread starts."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Callable
from typing import Any, Self

import anyio.to_thread
import uvicorn
from fastapi import FastAPI
from prometheus_client import CollectorRegistry

from shared.errors import ConfigError
from shared.runtime.api.app import admin_app
from shared.runtime.api.connection_table import DEFAULT_LIMITS, ConnectionLimits, CountStatus
from shared.runtime.api.connections import bounded_protocol
from shared.runtime.api.context import AdminContext
from shared.runtime.api.file_token import FileToken
from shared.runtime.api.request_count import CountRequest
from shared.settings.admin import AdminSettings
from shared.settings.values import ALL_ADDRESSES

STOP_TIMEOUT_S = 2.0
# Connections that arrive at the same moment queue here instead of being refused. As many are accepted at once, so it is
# below connections.RESERVED_DESCRIPTORS.
BACKLOG = 128
# Threads that work on requests, one for each database connection. Each competes with the loop for Python's lock.
WORKER_THREADS = 4


class AdminServer:
    """Serves an app from a thread. The constructor binds the socket, so the port is known at once."""

    def __init__(
        self,
        app: FastAPI,
        host: str = "127.0.0.1",
        port: int = 0,
        close: Callable[[], None] = lambda: None,
        advertised_url: str | None = None,
        *,
        limits: ConnectionLimits = DEFAULT_LIMITS,
        count: CountStatus = lambda _: None,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        """`advertised_url`: how others reach the server, if not at its host and port. `count`: counts the responses
        that do not come from the app."""
        self._close = close
        self._socket = _bind(host, port)
        bound: tuple[Any, ...] = self._socket.getsockname()
        self.port: int = bound[1]
        self.url = advertised_url or url_of(host, self.port, "http" if tls is None else "https")
        config = uvicorn.Config(
            app, log_config=None, access_log=False, lifespan="off", server_header=False, backlog=BACKLOG,
            http=bounded_protocol(limits, count, tls), ws="none", timeout_keep_alive=limits.idle_s,  # type: ignore[arg-type]
            h11_max_incomplete_event_size=limits.max_head_bytes,
        )  # fmt: skip
        self._server = _Server(config)
        self._thread = threading.Thread(target=self._server.run, args=([self._socket],), name="admin", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.should_exit = True
        self._thread.join(STOP_TIMEOUT_S)
        self._socket.close()
        self._close()


class _Server(uvicorn.Server):
    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        anyio.to_thread.current_default_thread_limiter().total_tokens = WORKER_THREADS
        await super().startup(sockets)


def admin_server(
    context: AdminContext,
    registry: CollectorRegistry,
    count_request: CountRequest = lambda *_: None,
    count_response: CountStatus = lambda _: None,
    limits: ConnectionLimits | None = None,
) -> AdminServer:
    """The server as configured. Raises ConfigError if the port is in use or a file of a secret is unfit."""
    settings = context.settings.admin
    limits = limits or ConnectionLimits(settings.max_connections)
    is_file_token = None if settings.token_file is None else FileToken(settings.token_file)
    app = admin_app(context, registry, is_file_token, count_request, limits)
    return AdminServer(
        app, settings.host, settings.port, context.close, settings.advertised_url, limits=limits, count=count_response,
        tls=tls_context_of(settings),
    )  # fmt: skip


def tls_context_of(settings: AdminSettings) -> ssl.SSLContext | None:
    """The TLS context of a server; None if it speaks plain http. Raises ConfigError."""
    if settings.tls_cert_file is None:
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    try:
        context.load_cert_chain(settings.tls_cert_file, settings.tls_key_file)
    except (OSError, ssl.SSLError) as error:
        raise ConfigError(
            f"admin.tls_cert_file {settings.tls_cert_file} and admin.tls_key_file {settings.tls_key_file}: expected a"
            f" certificate and its key as PEM ({error.strerror or error})"
        ) from None
    return context


def url_of(host: str, port: int, scheme: str = "http") -> str:
    """The URL of a server that listens on `host`. A client cannot connect to an address that stands for all addresses:
    the machine's host name, which networks of containers resolve, takes its place."""
    name = socket.gethostname() if host in ALL_ADDRESSES else host
    return f"{scheme}://[{name}]:{port}" if ":" in name else f"{scheme}://{name}:{port}"


def _bind(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # asyncio disables Nagle only if the protocol is TCP; otherwise each small response waits 40 ms for an ACK.
    listening = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((host, port))
        listening.listen(BACKLOG)  # before the thread starts: clients that know the URL can connect
    except OSError as error:
        listening.close()
        raise ConfigError(
            f"cannot listen on {host}:{port} for the admin app ({error.strerror}); "
            f"choose another admin.host or admin.port, or port 0 for a free one"
        ) from error
    return listening
