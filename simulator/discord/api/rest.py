"""Serves the REST API: authorization, rate limits, faults and error bodies around the handlers of the routes."""

from __future__ import annotations

import asyncio
import json
import sys
import traceback

from aiohttp import web

from simulator.discord.api.bodies import read_body
from simulator.discord.errors import INVALID_JSON, UNAUTHORIZED, UNKNOWN_PATH, ApiError
from simulator.discord.faults import Fault
from simulator.discord.rate_limits import RateDecision, limited
from simulator.discord.request_log import LoggedRequest
from simulator.discord.routes.call import ApiCall, ApiReply, RouteHandler
from simulator.discord.routes.table import ROUTES, WITHOUT_BOT_TOKEN
from simulator.discord.simulation import DiscordSimulation

PREFIX = "/api/v10"
# discord.py takes a refusal without this header for the block of an address.
VIA = {"Via": "1.1 google"}
HOLD_POLL_S = 0.01


class RestApi:
    def __init__(self, simulation: DiscordSimulation) -> None:
        self._simulation = simulation

    def add_to(self, app: web.Application) -> None:
        for method, route, handler in ROUTES:
            app.router.add_route(method, PREFIX + route, self._endpoint(route, handler).serve)
        app.router.add_route("*", PREFIX + "/{rest:.*}", self._endpoint("/unknown", _unknown_path).serve)

    def _endpoint(self, route: str, handler: RouteHandler) -> _Endpoint:
        return _Endpoint(self._simulation, route, handler)


class _Endpoint:
    """One route. Without the wildcard for unknown paths `route` is also the bucket of its rate limit."""

    def __init__(self, simulation: DiscordSimulation, route: str, handler: RouteHandler) -> None:
        self._simulation = simulation
        self._route = route
        self._handler = handler

    async def serve(self, request: web.Request) -> web.StreamResponse:
        simulation = self._simulation
        path = request.path.removeprefix(PREFIX)
        agent = request.headers.get("User-Agent", "")
        entry = LoggedRequest(simulation.state.clock(), request.method, path, dict(request.query), user_agent=agent)
        simulation.log.requests.append(entry)
        fault = simulation.faults.next(request.method, path)
        response = await self._respond(request, entry, fault)
        if fault is not None:
            await _delay(fault)
            if fault.disconnects and request.transport is not None:
                simulation.on_change()
                request.transport.abort()
                return response
        entry.status = response.status
        simulation.on_change()
        return response

    async def _respond(self, request: web.Request, entry: LoggedRequest, fault: Fault | None) -> web.Response:
        planned = None if fault is None else _planned_response(fault)
        if fault is not None and not fault.is_executed and (planned is not None or fault.disconnects):
            await request.read()
            return planned or json_response(None, 500)
        response = await self._execute(request, entry)
        return planned or response

    async def _execute(self, request: web.Request, entry: LoggedRequest) -> web.Response:
        headers: dict[str, str] = {}
        try:
            self._authorize(request, entry.path)
            parameters = dict(request.match_info)
            now_s = self._simulation.state.clock()
            decision = self._simulation.limits.admit(request.method, self._route, parameters, now_s)
            if decision.retry_after_s:
                await request.read()
                return _refusal(decision)
            headers = decision.headers
            content, uploads = await read_body(request)
            entry.body = content if isinstance(content, dict) else None
            reply = self._handler(ApiCall(self._simulation.state, parameters, entry.query, content, uploads))
        except ApiError as error:
            return json_response(error.body(), error.status, headers)
        except RecursionError:
            return json_response(ApiError(INVALID_JSON).body(), 400, headers)
        except Exception:  # noqa: BLE001 - a defect must fail the client's test, not the server
            traceback.print_exc(file=sys.stderr)
            return json_response({"message": "500: Internal Server Error", "code": 0}, 500, headers)
        return json_response(reply.body, reply.status, headers)

    def _authorize(self, request: web.Request, path: str) -> None:
        """Raises ApiError."""
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        if path.startswith(WITHOUT_BOT_TOKEN) and not token:
            return
        if scheme != "Bot" or not self._simulation.accepts(token):
            raise ApiError(UNAUTHORIZED)


def json_response(body: object, status: int = 200, headers: dict[str, str] | None = None) -> web.Response:
    """The content type is exactly application/json, which discord.py needs."""
    if status == 204:
        return web.Response(status=204, headers=headers)
    content = json.dumps(body).encode()
    return web.Response(body=content, status=status, headers=(headers or {}) | VIA, content_type="application/json")


def _unknown_path(_: ApiCall) -> ApiReply:
    raise ApiError(UNKNOWN_PATH)


def _refusal(decision: RateDecision) -> web.Response:
    body = {
        "message": "You are being rate limited.",
        "retry_after": decision.retry_after_s,
        "global": decision.is_global,
    }
    return json_response(body, 429, decision.headers)


def _planned_response(fault: Fault) -> web.Response | None:
    if fault.status is None:
        return None
    if fault.status == 429:
        return _refusal(limited(fault.retry_after_s, fault.is_global))
    if fault.status == 502:
        return web.Response(status=502, text="<html><h1>502 Bad Gateway</h1></html>", content_type="text/html")
    return json_response({"message": f"{fault.status}: planned by a test", "code": fault.code}, fault.status)


async def _delay(fault: Fault) -> None:
    await asyncio.sleep(fault.delay_s)
    while fault.is_held is not None and fault.is_held():
        await asyncio.sleep(HOLD_POLL_S)
