"""Calls the services' REST API: finds a live replica, sends the token, waits for operations."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit
from uuid import uuid4

import httpx
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from headrace.database.access import access_of, notice
from headrace.progress.observer import replicas
from shared.errors import ConfigError, HeadraceError, NotReady
from shared.readiness import until_first_use
from shared.settings.sections import Settings, read_secret

TIMEOUT_S = 60.0  # a dry run reads the log
CONNECT_S = 3.0
# A replica that dies is restarted within seconds, and other replicas may answer.
TRIES, BETWEEN_S = 10, 1.0
POLL_S = 0.3
OVER = frozenset({"succeeded", "failed", "cancelled"})
UNPROCESSABLE, UNAVAILABLE = 422, 503
NOT_READY = "urn:headrace:problem:not-ready"
COLUMNS = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.percentage:>3.0f} %"), TimeElapsedColumn())

Params = Mapping[str, Any]


class NotRunningError(HeadraceError):
    """No replica of the service answers."""


class Answer(NamedTuple):
    status: int
    body: Any


class Api:
    """A client of one service's API.

    `urls` is called before each attempt. All attempts of a change send the same Idempotency-Key.
    """

    def __init__(self, service: str, token: str, urls: Callable[[], list[str]], between_s: float = BETWEEN_S) -> None:
        self.service = service
        self._between_s = between_s
        self._ready = until_first_use(notice)
        self._urls = urls
        self._key = str(uuid4())
        self._changes = 0
        self._http = httpx.Client(
            headers={"Authorization": f"Bearer {token}"},
            timeout=httpx.Timeout(TIMEOUT_S, connect=CONNECT_S),
            trust_env=False,
        )

    def get(self, path: str, **params: Any) -> Any:
        given = {name: value for name, value in params.items() if value not in (None, [], ())}
        return self._ready.call(self._ask, "GET", path, params=given).body

    def post(self, path: str, body: Params | None = None) -> Answer:
        return self._change("POST", path, body)

    def put(self, path: str, body: Params | None = None) -> Answer:
        return self._change("PUT", path, body)

    def close(self) -> None:
        self._http.close()

    def _change(self, method: str, path: str, body: Params | None) -> Answer:
        self._changes += 1
        key = {"Idempotency-Key": f"{self._key}-{self._changes}"}
        return self._ready.call(self._ask, method, path, json=body, headers=key)

    def _ask(self, method: str, path: str, **given: Any) -> Answer:
        """Sends a request, up to MAX_ATTEMPTS times.

        Raises NotRunningError if no replica answers, ConfigError if the request is invalid (422), NotReady if the
        service is not ready yet, and HeadraceError for any other refusal.
        """
        error: Exception | None = None
        for attempt in range(TRIES):
            if attempt:
                time.sleep(self._between_s)
            for url in self._urls():
                try:
                    answer = self._http.request(method, f"{url.rstrip('/')}/v1{path}", **given)
                except httpx.TransportError as trouble:
                    error = trouble
                    continue
                if answer.status_code != UNAVAILABLE or attempt + 1 == TRIES or _kind(answer) == NOT_READY:
                    return self._said(answer)
        raise NotRunningError(f"the {self.service} does not answer: {error}; `headrace status` lists live replicas")

    def _said(self, answer: httpx.Response) -> Answer:
        try:
            body = answer.json()
        except ValueError:
            body = {"detail": answer.text[:200]}
        if answer.is_success:
            return Answer(answer.status_code, body)
        detail = body.get("detail") or body.get("title") if isinstance(body, dict) else body
        text = f"the {self.service} refused the request ({answer.status_code}): {detail}"
        if _kind(answer) == NOT_READY:
            raise NotReady(text)
        raise ConfigError(text) if answer.status_code == UNPROCESSABLE else HeadraceError(text)


def _kind(answer: httpx.Response) -> object:
    """The type of a problem document; None for any other response."""
    try:
        body = answer.json()
    except ValueError:
        return None
    return body.get("type") if isinstance(body, dict) else None


@contextmanager
def api(settings: Settings, service: str, url: str | None = None, token_file: Path | None = None) -> Iterator[Api]:
    """Opens a client of a running service. Raises NotRunningError, which says how to start the service.

    `url` selects one replica. The token is read from `token_file`, else admin.token_file, else the data directory.
    """
    file = token_file or settings.admin.token_file or settings.data_dir / "token"
    if not file.exists():
        raise NotRunningError(f"no token file {file}: `headrace run` creates it, or set --token-file")
    if url is not None and urlsplit(url).scheme not in {"http", "https"}:
        raise ConfigError(f"--url {url}: expected http://HOST:PORT")
    asked = Api(service, read_secret(file), lambda: [url] if url else urls_of(settings, service))
    try:
        if url is None and not urls_of(settings, service):
            raise NotRunningError(f"the {service} is not running: `headrace run` starts it")
        yield asked
    finally:
        asked.close()


def urls_of(settings: Settings, service: str) -> list[str]:
    """URLs of the live replicas of a service, ready ones first. Empty while the database is down."""
    access = access_of(settings)
    if not access.is_up():
        return []
    with access.connect("headrace command") as connection:
        found = [each for each in replicas(connection) if each.service == service and each.admin_url]
    return [each.admin_url for each in sorted(found, key=lambda each: not each.ready) if each.admin_url]


def follow(asked: Api, operation: Mapping[str, Any], screen: Console) -> dict[str, Any]:
    """Waits until an operation ends, with a progress bar on a terminal. Raises HeadraceError unless it succeeded.

    An interrupt ends the wait; the operation continues.
    """
    said = dict(operation)
    with Progress(*COLUMNS, console=screen, transient=True, disable=not screen.is_terminal) as progress:
        bar = progress.add_task(title_of(said), total=1.0)
        while said["state"] not in OVER:
            time.sleep(POLL_S)
            said = asked.get(f"/operations/{said['id']}")
            progress.update(bar, completed=said["progress"], description=title_of(said))
    if said["state"] != "succeeded":
        raise HeadraceError(f"operation {said['id']} {said['state']}: {said.get('error') or 'on request'}")
    return said


def title_of(operation: Mapping[str, Any]) -> str:
    waits, left_s = operation.get("waiting_for"), operation.get("left_s")
    more = f", waiting: {waits}" if waits else f", about {left_s:.0f} s left" if left_s else ""
    return f"{operation['kind']} {int(operation['id'])}: {operation['state']}{more}"
