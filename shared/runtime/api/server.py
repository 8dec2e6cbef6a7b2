"""Runs the admin app's HTTP server in a thread beside the loop, on a port that is known before the thread starts."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from typing import Any, Self

import uvicorn
from fastapi import FastAPI
from prometheus_client import CollectorRegistry

from shared.errors import ConfigError
from shared.runtime.api.app import admin_app
from shared.runtime.api.context import AdminContext
from shared.runtime.api.request_count import CountRequest
from shared.settings.sections import ALL_ADDRESSES, read_secret

STOP_TIMEOUT_S = 2.0
# Connections that arrive at the same moment queue here instead of being refused.
BACKLOG = 512


class AdminServer:
    """Serves an app from a thread. The constructor binds the socket, so the port is known at once."""

    def __init__(
        self,
        app: FastAPI,
        host: str = "127.0.0.1",
        port: int = 0,
        close: Callable[[], None] = lambda: None,
        advertised_url: str | None = None,
    ) -> None:
        """`advertised_url`: how others reach the server, if not at its host and port."""
        self._close = close
        self._socket = _bind(host, port)
        bound: tuple[Any, ...] = self._socket.getsockname()
        self.port: int = bound[1]
        self.url = advertised_url or url_of(host, self.port)
        config = uvicorn.Config(
            app, log_config=None, access_log=False, lifespan="off", server_header=False, backlog=BACKLOG
        )
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._server.run, args=([self._socket],), name="admin", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.should_exit = True
        self._thread.join(STOP_TIMEOUT_S)
        self._socket.close()
        self._close()


def admin_server(
    context: AdminContext, registry: CollectorRegistry, count_request: CountRequest = lambda *_: None
) -> AdminServer:
    """The server as configured. Raises ConfigError if the port is in use or the token file does not exist."""
    settings = context.settings.admin
    file_token = None if settings.token_file is None else read_secret(settings.token_file)
    app = admin_app(context, registry, file_token, count_request)
    return AdminServer(app, settings.host, settings.port, context.close, settings.advertised_url)


def url_of(host: str, port: int) -> str:
    """The URL of a server that listens on `host`. A client cannot connect to an address that stands for all addresses:
    the machine's host name, which networks of containers resolve, takes its place."""
    name = socket.gethostname() if host in ALL_ADDRESSES else host
    return f"http://[{name}]:{port}" if ":" in name else f"http://{name}:{port}"


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
