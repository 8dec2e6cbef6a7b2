"""The page's JSON API: what each person sees and does."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import discord
import httpx2
import pytest
from discord import app_commands

from simulator.discord.fake import FakeDiscord
from tests.simulator.discord.bots import RealBot, RunningBot
from tests.waiting import DEADLINE_S


class MenuBot(RealBot):
    def __init__(self, fake: FakeDiscord) -> None:
        super().__init__(fake)

        @self.tree.command(name="event", description="One event")
        async def event(interaction: discord.Interaction[Any], key: str) -> None:
            await interaction.response.send_message(f"card of {key}", ephemeral=True)

        @event.autocomplete("key")
        async def keys(interaction: discord.Interaction[Any], current: str) -> list[app_commands.Choice[str]]:
            return [
                app_commands.Choice(name=f"Race {each}", value=each) for each in ("7:01", "7:02") if current in each
            ]


@pytest.fixture
def page(fake: FakeDiscord) -> Iterator[httpx2.Client]:
    with httpx2.Client(base_url=fake.url, timeout=DEADLINE_S) as client:
        yield client


def ids(fake: FakeDiscord, person: str, channel: str = "races") -> dict[str, str]:
    return {"person": str(fake.person(person).id), "channel": str(fake.channel(channel).id)}


def view(page: httpx2.Client, fake: FakeDiscord, person: str, channel: str = "races") -> list[dict[str, Any]]:
    where = ids(fake, person, channel)
    answer = page.get(f"/fake/channels/{where['channel']}", params={"person": where["person"]})
    messages: list[dict[str, Any]] = answer.json()["messages"]
    return messages


def test_the_page_and_its_files_are_served_and_allow_no_other_source(page: httpx2.Client) -> None:
    for path in ("/", "/page/page.js", "/page/messages.js", "/page/page.css"):
        answer = page.get(path)
        assert answer.status_code == 200
        assert answer.headers["content-security-policy"].startswith("default-src 'self';")
    assert "not Discord" in page.get("/").text
    assert page.get("/page/..%2Ffake.py").status_code == 404


def test_the_overview_names_channels_and_people(fake: FakeDiscord, page: httpx2.Client) -> None:
    overview = page.get("/fake/overview").json()

    assert [person["roles"] for person in overview["people"]] == [["operator"], ["reader"], []]
    assert {"races", "operations", "status-board"} <= {channel["name"] for channel in overview["channels"]}
    assert overview["bot"] == {"name": "Headrace", "connected": False}


def test_a_typed_command_is_completed_by_the_bot_and_answered_to_one_person(
    fake: FakeDiscord, page: httpx2.Client
) -> None:
    where = ids(fake, "Ben Reader")
    with RunningBot(fake, MenuBot(fake)) as running:
        running.ready()
        names = page.post("/fake/completions", json={**where, "line": "/ev"}).json()["completions"]
        keys = page.post("/fake/completions", json={**where, "line": "/event key:02"}).json()["completions"]
        sent = page.post("/fake/lines", json={**where, "line": keys[0]["line"]}).json()["interaction"]
        fake.wait_for(lambda: page.get(f"/fake/interactions/{sent}").json()["answered"])

    assert [each["line"] for each in names] == ["/event "]
    assert keys == [{"line": "/event key:7:02 ", "label": "Race 7:02", "description": ""}]
    [message] = view(page, fake, "Ben Reader")
    assert (message["content"], message["only_you"]) == ("card of 7:02", True)
    assert (message["asked_by"], message["asked_with"]) == ("Ben Reader", "event")
    assert view(page, fake, "Ana Operator") == []


def test_a_message_says_whom_it_notifies(fake: FakeDiscord, page: httpx2.Client) -> None:
    text = f"<@&{fake.role('operator').id}> look"
    page.post("/fake/lines", json={**ids(fake, "Cleo Outsider"), "line": text})

    assert [each["notifies_you"] for each in view(page, fake, "Ana Operator")] == [True]
    assert [each["notifies_you"] for each in view(page, fake, "Ben Reader")] == [False]


def test_a_button_without_a_bot_fails_after_the_time_for_an_answer(page: httpx2.Client) -> None:
    now = [1_800_000_000.0]
    button = {"type": 1, "components": [{"type": 2, "style": 1, "label": "Go", "custom_id": "go"}]}
    with FakeDiscord(clock=lambda: now[0]) as fake, httpx2.Client(base_url=fake.url, timeout=DEADLINE_S) as own_page:
        url = f"{fake.api_url}/channels/{fake.channel('races').id}/messages"
        headers = {"Authorization": f"Bot {fake.token}"}
        message = httpx2.post(url, json={"content": "x", "components": [button]}, headers=headers).json()["id"]
        body = {"person": str(fake.person("Ana Operator").id), "message": message, "custom_id": "go"}
        sent = own_page.post("/fake/components", json=body).json()["interaction"]
        before = own_page.get(f"/fake/interactions/{sent}").json()["failed"]
        now[0] += 3.1
        after = own_page.get(f"/fake/interactions/{sent}").json()["failed"]

    assert (before, after) == (False, True)


def test_direct_messages_belong_to_one_person(fake: FakeDiscord, page: httpx2.Client) -> None:
    ben, ana = (ids(fake, name)["person"] for name in ("Ben Reader", "Ana Operator"))
    channel = page.post("/fake/direct", json={"person": ben}).json()["channel"]

    def channels(person: str) -> list[str]:
        return [each["id"] for each in page.get("/fake/overview", params={"person": person}).json()["channels"]]

    assert channel in channels(ben)
    assert channel not in channels(ana)
    page.post("/fake/blocks", json={"person": ben, "blocks": True})
    assert fake.person("Ben Reader").blocks_bot


def test_changes_are_streamed_to_those_who_see_them(fake: FakeDiscord, page: httpx2.Client) -> None:
    where = ids(fake, "Ana Operator")
    with page.stream("GET", "/fake/events", params={"person": where["person"]}) as stream:
        lines = stream.iter_lines()
        assert next(lines) == ": connected"
        fake.say(fake.person("Ben Reader"), fake.channel("races"), "hello")
        event = next(line for line in lines if line.startswith("data: "))

    assert json.loads(event.removeprefix("data: ")) == {"name": "MESSAGE_CREATE", "channel": where["channel"]}


def test_a_private_answer_is_streamed_to_its_person_only(fake: FakeDiscord, page: httpx2.Client) -> None:
    ana = fake.person("Ana Operator")
    with RunningBot(fake, MenuBot(fake)) as running:
        running.ready()
        with page.stream("GET", "/fake/events", params={"person": ids(fake, "Ben Reader")["person"]}) as stream:
            lines = stream.iter_lines()
            assert next(lines) == ": connected"
            interaction = fake.slash(ana, fake.channel("races"), "/event", {"key": "7:01"})
            fake.wait_for(lambda: interaction.is_answered)
            fake.say(ana, fake.channel("general"), "hello")
            names = []
            for line in lines:
                names += [json.loads(line.removeprefix("data: "))["name"]] if line.startswith("data: ") else []
                if "MESSAGE_CREATE" in names:
                    break

    assert names == ["INTERACTION_CREATE", "MESSAGE_CREATE"]
    assert json.loads(line.removeprefix("data: "))["channel"] == ids(fake, "Ana Operator", "general")["channel"]


@pytest.mark.parametrize(
    ("path", "body", "text"),
    [
        ("/fake/lines", {"line": "/nothing"}, "no such command"),
        ("/fake/lines", {"line": ""}, "empty message"),
        ("/fake/lines", {}, "missing or invalid"),
        ("/fake/components", {"message": "1", "custom_id": "x"}, "missing or invalid"),
        ("/fake/dialogs", {"interaction": "1", "values": {}}, "missing or invalid"),
        ("/fake/completions", {"line": "/", "person": "1"}, "missing or invalid"),
    ],
)
def test_an_invalid_request_of_the_page_is_refused(
    fake: FakeDiscord, page: httpx2.Client, path: str, body: dict[str, Any], text: str
) -> None:
    answer = page.post(path, json={**ids(fake, "Ana Operator"), **body})

    assert answer.status_code == 400
    assert text in answer.json()["message"]


@pytest.mark.parametrize(
    "headers", [{"Host": "example.org:80"}, {"Content-Type": "text/plain"}, {"Content-Type": "multipart/form-data"}]
)
def test_another_page_cannot_use_it(fake: FakeDiscord, page: httpx2.Client, headers: dict[str, str]) -> None:
    body = json.dumps({**ids(fake, "Ana Operator"), "line": "hello"})

    answer = page.post("/fake/lines", content=body, headers={"Content-Type": "application/json", **headers})

    assert answer.status_code == 403
    assert fake.messages(fake.channel("races")) == []


def test_an_attachment_is_no_page_of_this_server(fake: FakeDiscord) -> None:
    form = {"files[0]": ("a.html", b"<script>alert(1)</script>", "text/html")}
    url = f"{fake.api_url}/channels/{fake.channel('races').id}/messages"
    posted = httpx2.post(url, files=form, headers={"Authorization": f"Bot {fake.token}"}).json()

    file = httpx2.get(posted["attachments"][0]["url"])

    assert file.headers["content-disposition"] == "attachment"
    assert file.headers["content-security-policy"] == "sandbox"
