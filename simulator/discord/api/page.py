"""Serves the page and its JSON API below /fake/: what a person sees and does."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from importlib.resources import files

from aiohttp import web

from simulator.discord import command_line, page_views, people
from simulator.discord.api.rest import json_response
from simulator.discord.command_rules import OptionValue
from simulator.discord.errors import ApiError, Payload
from simulator.discord.guild import ChatChannel, ChatUser
from simulator.discord.interactions import InteractionRecord
from simulator.discord.messages import PostedMessage
from simulator.discord.simulation import DiscordSimulation
from simulator.discord.state import GuildEvent

PAGE_FILES = {"page.css": "text/css", "page.js": "text/javascript", "messages.js": "text/javascript"}
# Nothing comes from elsewhere, and no text becomes a script.
HEADERS = {
    "Content-Security-Policy": "default-src 'self'; img-src 'self' data:; frame-ancestors 'none'; base-uri 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
}
POLL_S = 0.02
KEEP_ALIVE_S = 15.0
LOCAL_HOSTS = ("127.0.0.1", "localhost")

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class PageApi:
    def __init__(self, simulation: DiscordSimulation) -> None:
        self._simulation = simulation
        self._streams: set[asyncio.Queue[GuildEvent | None]] = set()
        simulation.state.listeners.append(self._on_event)

    def add_to(self, app: web.Application) -> None:
        get, post = app.router.add_get, app.router.add_post
        get("/", self._index)
        get("/page/{name}", self._file)
        get("/fake/overview", self._guarded(self._overview))
        get("/fake/channels/{channel}", self._guarded(self._channel))
        get("/fake/interactions/{interaction}", self._guarded(self._interaction))
        get("/fake/events", self._guarded(self._events))
        post("/fake/completions", self._guarded(self._complete))
        post("/fake/lines", self._guarded(self._send_line))
        post("/fake/components", self._guarded(self._use_component))
        post("/fake/dialogs", self._guarded(self._submit_dialog))
        post("/fake/direct", self._guarded(self._open_direct))
        post("/fake/blocks", self._guarded(self._set_block))
        app.on_shutdown.append(self._end_streams)

    def _guarded(self, handler: Handler) -> Handler:
        """Only this machine's browser may use it: another page could send requests, and a name could point here."""

        async def serve(request: web.Request) -> web.StreamResponse:
            host = request.headers.get("Host", "").rpartition(":")[0]
            if host not in LOCAL_HOSTS or (request.method == "POST" and request.content_type != "application/json"):
                return json_response({"message": "expected a request of this machine, as JSON"}, 403)
            try:
                return await handler(request)
            except ApiError as error:
                return json_response(error.body(), error.status)
            except (ValueError, KeyError, TypeError, AttributeError) as error:
                text = str(error) if isinstance(error, ValueError) else "a field of the request is missing or invalid"
                return json_response({"message": text}, 400)

        return serve

    async def _index(self, _: web.Request) -> web.Response:
        return web.Response(body=_page_file("index.html"), content_type="text/html", charset="utf-8", headers=HEADERS)

    async def _file(self, request: web.Request) -> web.Response:
        name = request.match_info["name"]
        if name not in PAGE_FILES:
            raise web.HTTPNotFound
        return web.Response(body=_page_file(name), content_type=PAGE_FILES[name], charset="utf-8", headers=HEADERS)

    async def _overview(self, request: web.Request) -> web.Response:
        people_ids = self._simulation.state.guild.people
        first = str(next(iter(people_ids)))
        person = people_ids[int(request.query.get("person", first))]
        return json_response(page_views.overview(self._simulation, person))

    async def _channel(self, request: web.Request) -> web.Response:
        channel = self._simulation.state.guild.channels[int(request.match_info["channel"])]
        person = self._person(dict(request.query))
        return json_response(page_views.channel_view(self._simulation, channel, person))

    async def _interaction(self, request: web.Request) -> web.Response:
        record = self._simulation.state.interactions.get(int(request.match_info["interaction"]))
        return json_response(page_views.interaction_view(self._simulation, record))

    async def _complete(self, request: web.Request) -> web.Response:
        """Completions of a line. Those of an option with autocompletion come from the bot."""
        body = await request.json()
        person, channel = self._person(body), self._channel_of(body)
        state, line = self._simulation.state, str(body["line"])
        commands = people.commands_for(state, channel)
        typed = command_line.read_line(line, commands)
        if typed is not None and command_line.is_for_bot(typed, line):
            name = typed.current_name
            values: dict[str, OptionValue] = {name: "", **command_line.option_values(typed, state.guild, name)}
            record = people.use_command(state, person, channel, typed.text, values, name)
            await self._answered(record)
            shown = [command_line.value_completion(typed, each["name"], each["value"]) for each in record.choices or []]
        else:
            shown = command_line.completions(line, commands, state.guild)
        return json_response({"completions": [each.__dict__ for each in shown]})

    async def _send_line(self, request: web.Request) -> web.Response:
        """Send a command, or any other text as a message."""
        body = await request.json()
        person, channel = self._person(body), self._channel_of(body)
        state, line = self._simulation.state, str(body["line"])
        if not line.startswith("/"):
            people.write(state, person, channel, line)
            return json_response({"interaction": None})
        typed = command_line.read_line(line.rstrip(), people.commands_for(state, channel))
        if typed is None:
            raise ValueError("there is no such command; type / to see all of them")
        values = command_line.option_values(typed, state.guild)
        record = people.use_command(state, person, channel, typed.text, values)
        return json_response({"interaction": str(record.id)})

    async def _use_component(self, request: web.Request) -> web.Response:
        body = await request.json()
        values = body.get("values")
        chosen = None if values is None else [str(each) for each in values]
        record = people.use_component(
            self._simulation.state, self._person(body), self._message(body), str(body["custom_id"]), chosen
        )
        return json_response({"interaction": str(record.id)})

    async def _submit_dialog(self, request: web.Request) -> web.Response:
        body = await request.json()
        record = self._simulation.state.interactions.get(int(body["interaction"]))
        values = {str(name): str(value) for name, value in body["values"].items()}
        return json_response({"interaction": str(people.submit_dialog(self._simulation.state, record, values).id)})

    async def _open_direct(self, request: web.Request) -> web.Response:
        person = self._person(await request.json())
        return json_response({"channel": str(self._simulation.state.direct_channel(person.id).id)})

    async def _set_block(self, request: web.Request) -> web.Response:
        body = await request.json()
        self._person(body).blocks_bot = body["blocks"] is True
        return json_response({})

    async def _events(self, request: web.Request) -> web.StreamResponse:
        """Server-sent events: the channel of each change that the person can see."""
        person = self._person(dict(request.query))
        queue: asyncio.Queue[GuildEvent | None] = asyncio.Queue()
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream", "Cache-Control": "no-store"})
        self._streams.add(queue)
        try:
            await response.prepare(request)
            await response.write(b": connected\n\n")
            while True:
                try:
                    event = await asyncio.wait_for(queue.get(), KEEP_ALIVE_S)
                except TimeoutError:
                    await response.write(b": alive\n\n")
                    continue
                if event is None:
                    break
                if event.only_for in (None, person):
                    await response.write(f"data: {json.dumps(_event_view(event))}\n\n".encode())
        except ConnectionError:
            pass
        finally:
            self._streams.discard(queue)
        return response

    async def _answered(self, record: InteractionRecord) -> None:
        """Returns when the bot has answered, or after Discord's time for it."""
        state = self._simulation.state
        while record.answered_at is None and state.clock() - record.created_at <= state.first_answer_s:
            await asyncio.sleep(POLL_S)

    def _person(self, fields: Payload) -> ChatUser:
        return self._simulation.state.guild.people[int(fields["person"])]

    def _channel_of(self, fields: Payload) -> ChatChannel:
        return self._simulation.state.guild.channels[int(fields["channel"])]

    def _message(self, fields: Payload) -> PostedMessage:
        return self._simulation.state.messages[int(fields["message"])]

    def _on_event(self, event: GuildEvent) -> None:
        for queue in self._streams:
            queue.put_nowait(event)

    async def _end_streams(self, _: web.Application) -> None:
        for queue in self._streams:
            queue.put_nowait(None)


def _page_file(name: str) -> bytes:
    return files("simulator.discord").joinpath("page", name).read_bytes()


def _event_view(event: GuildEvent) -> Payload:
    return {"name": event.name, "channel": None if event.channel is None else str(event.channel.id)}
