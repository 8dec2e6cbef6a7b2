"""Calls the services' REST API: finds a live replica, sends the token, waits for operations."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit
from uuid import uuid4

import httpx2
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from headrace.database.access import access_of, print_notice
from headrace.progress.replicas import replicas
from headrace.service_tls import require_trusted, tls_context_of
from shared.errors import ConfigError, HeadraceError, NotReady
from shared.readiness import retry_until_first_use
from shared.settings.admin import AdminSettings
from shared.settings.sections import Settings
from shared.settings.values import read_secret

TIMEOUT_S = 60.0  # a dry run reads the log
CONNECT_S = 3.0
# A replica that dies is restarted within seconds, and other replicas may answer.
MAX_ATTEMPTS, RETRY_DELAY_S = 10, 1.0
POLL_S = 0.3
END_STATES = frozenset({"succeeded", "failed", "cancelled"})
UNPROCESSABLE, UNAVAILABLE = 422, 503
NOT_READY = "urn:headrace:problem:not-ready"
# Sends the token to this machine only.
LOCAL_ONLY = AdminSettings()
PROGRESS_COLUMNS = (
    TextColumn("{task.description}"),
    BarColumn(),
    TextColumn("{task.percentage:>3.0f} %"),
    TimeElapsedColumn(),
)

Params = Mapping[str, Any]


class NotRunningError(HeadraceError):
    """No replica of the service answers."""


class ApiResponse(NamedTuple):
    status: int
    body: Any


class ApiClient:
    """A client of one service's API.

    `urls` is called before each attempt. All attempts of a change send the same Idempotency-Key.
    """

    def __init__(
        self,
        service: str,
        token: str,
        urls: Callable[[], list[str]],
        retry_delay_s: float = RETRY_DELAY_S,
        admin: AdminSettings = LOCAL_ONLY,
    ) -> None:
        """`admin`: to which hosts the token may be sent, and the CA of their certificates."""
        self.service = service
        self._retry_delay_s = retry_delay_s
        self._ready = retry_until_first_use(print_notice)
        self._urls = urls
        self._key = str(uuid4())
        self._changes = 0
        self._http = httpx2.Client(
            headers={"Authorization": f"Bearer {token}"},
            timeout=httpx2.Timeout(TIMEOUT_S, connect=CONNECT_S),
            trust_env=False,
            verify=tls_context_of(admin),
        )
        self._admin = admin

    def get(self, path: str, **params: Any) -> Any:
        query = {name: value for name, value in params.items() if value not in (None, [], ())}
        return self._ready.call(self._send, "GET", path, params=query).body

    def post(self, path: str, body: Params | None = None) -> ApiResponse:
        return self._change("POST", path, body)

    def put(self, path: str, body: Params | None = None) -> ApiResponse:
        return self._change("PUT", path, body)

    def close(self) -> None:
        self._http.close()

    def _change(self, method: str, path: str, body: Params | None) -> ApiResponse:
        self._changes += 1
        key = {"Idempotency-Key": f"{self._key}-{self._changes}"}
        return self._ready.call(self._send, method, path, json=body, headers=key)

    def _send(self, method: str, path: str, **given: Any) -> ApiResponse:
        """Sends a request, up to MAX_ATTEMPTS times.

        Raises NotRunningError if no replica answers, ConfigError if the request is invalid (422), NotReady if the
        service is not ready yet, and HeadraceError for any other refusal.
        """
        error: Exception | None = None
        for attempt in range(MAX_ATTEMPTS):
            if attempt:
                time.sleep(self._retry_delay_s)
            for url in self._urls():
                require_trusted(self._admin, url)
                try:
                    answer = self._http.request(method, f"{url.rstrip('/')}/v1{path}", **given)
                except httpx2.TransportError as trouble:
                    error = trouble
                    continue
                if (
                    answer.status_code != UNAVAILABLE
                    or attempt + 1 == MAX_ATTEMPTS
                    or _problem_type(answer) == NOT_READY
                ):
                    return self._decode(answer)
        raise NotRunningError(f"the {self.service} does not answer: {error}; `headrace status` lists live replicas")

    def _decode(self, answer: httpx2.Response) -> ApiResponse:
        try:
            body = answer.json()
        except ValueError:
            body = {"detail": answer.text[:200]}
        if answer.is_success:
            return ApiResponse(answer.status_code, body)
        detail = body.get("detail") or body.get("title") if isinstance(body, dict) else body
        text = f"the {self.service} refused the request ({answer.status_code}): {detail}"
        if _problem_type(answer) == NOT_READY:
            raise NotReady(text)
        raise ConfigError(text) if answer.status_code == UNPROCESSABLE else HeadraceError(text)


def _problem_type(answer: httpx2.Response) -> object:
    """The type of a problem document; None for any other response."""
    try:
        body = answer.json()
    except ValueError:
        return None
    return body.get("type") if isinstance(body, dict) else None


@contextmanager
def open_api(
    settings: Settings, service: str, url: str | None = None, token_file: Path | None = None
) -> Iterator[ApiClient]:
    """Opens a client of a running service. Raises NotRunningError, which says how to start the service.

    `url` selects one replica. The token is read from `token_file`, else admin.token_dir or admin.token_file,
    else the data directory.
    """
    file = token_file or settings.admin.token_file_for(service) or settings.data_dir / "token"
    if not file.exists():
        raise NotRunningError(f"no token file {file}: `headrace run` creates it, or set --token-file")
    if url is not None and urlsplit(url).scheme not in {"http", "https"}:
        raise ConfigError(f"--url {url}: expected http://HOST:PORT")
    client = ApiClient(
        service, read_secret(file), lambda: [url] if url else urls_of(settings, service), admin=settings.admin
    )
    try:
        if url is None and not urls_of(settings, service):
            raise NotRunningError(f"the {service} is not running: `headrace run` starts it")
        yield client
    finally:
        client.close()


def urls_of(settings: Settings, service: str) -> list[str]:
    """URLs of the live replicas of a service, ready ones first. Empty while the database is down."""
    access = access_of(settings)
    if not access.is_up():
        return []
    with access.connect("headrace command") as connection:
        live = [each for each in replicas(connection) if each.service == service and each.admin_url]
    return [each.admin_url for each in sorted(live, key=lambda each: not each.ready) if each.admin_url]


def wait_for_operation(client: ApiClient, operation: Mapping[str, Any], screen: Console) -> dict[str, Any]:
    """Waits until an operation ends, with a progress bar on a terminal. Raises HeadraceError unless it succeeded.

    An interrupt ends the wait; the operation continues.
    """
    current = dict(operation)
    with Progress(*PROGRESS_COLUMNS, console=screen, transient=True, disable=not screen.is_terminal) as progress:
        bar = progress.add_task(title_of(current), total=1.0)
        while current["state"] not in END_STATES:
            time.sleep(POLL_S)
            current = client.get(f"/operations/{current['id']}")
            progress.update(bar, completed=current["progress"], description=title_of(current))
    if current["state"] != "succeeded":
        raise HeadraceError(f"operation {current['id']} {current['state']}: {current.get('error') or 'on request'}")
    return current


def title_of(operation: Mapping[str, Any]) -> str:
    """Kind, id and state of an operation; also what was requested while the service has not obeyed yet."""
    reason, left_s = operation.get("waiting_for"), operation.get("left_s")
    more = f", waiting: {reason}" if reason else f", about {left_s:.0f} s left" if left_s else ""
    return f"{operation['kind']} {int(operation['id'])}: {operation['state']}{_pending_request(operation)}{more}"


def _pending_request(operation: Mapping[str, Any]) -> str:
    match operation["state"], operation.get("wanted"):
        case "running" | "waiting", "pause":
            return ", will pause after its current step"
        case "running" | "waiting" | "paused", "cancel":
            return ", will be cancelled"
        case "paused", "run":
            return ", will resume"
    return ""
