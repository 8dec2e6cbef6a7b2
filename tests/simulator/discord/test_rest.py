"""The REST API: what it accepts, refuses and returns."""

from __future__ import annotations

import json
from typing import Any

import httpx2
import pytest

from simulator.discord.fake import FakeDiscord
from tests.simulator.discord.conftest import api_client

BUTTON = {"type": 2, "style": 1, "label": "Go", "custom_id": "go"}
FIELD = {"name": "n", "value": "v"}


def row(*items: dict[str, Any]) -> dict[str, Any]:
    return {"type": 1, "components": list(items)}


def post(api: httpx2.Client, fake: FakeDiscord, body: object, channel: str = "races") -> httpx2.Response:
    return api.post(f"/channels/{fake.channel(channel).id}/messages", json=body)


@pytest.mark.parametrize(
    ("body", "path"),
    [
        ({"content": "x" * 2001}, "content"),
        ({"embeds": [{"title": "t"}] * 11}, "embeds"),
        ({"embeds": [{"title": "x" * 257}]}, "embeds.0.title"),
        ({"embeds": [{"description": "x" * 4097}]}, "embeds.0.description"),
        ({"embeds": [{"title": "t", "fields": [FIELD] * 26}]}, "embeds.0.fields"),
        ({"embeds": [{"fields": [{**FIELD, "name": "x" * 257}]}]}, "embeds.0.fields.0.name"),
        ({"embeds": [{"fields": [{**FIELD, "value": "x" * 1025}]}]}, "embeds.0.fields.0.value"),
        ({"embeds": [{"fields": [{**FIELD, "value": " "}]}]}, "embeds.0.fields.0.value"),
        ({"embeds": [{"title": "t", "footer": {"text": "x" * 2049}}]}, "embeds.0.footer.text"),
        ({"embeds": [{"description": "x" * 4000}, {"description": "x" * 2001}]}, "embeds"),
        ({"embeds": [{"title": "t", "url": "nowhere"}]}, "embeds.0.url"),
        ({"embeds": [{"title": "t", "color": 0x1000000}]}, "embeds.0.color"),
        ({"embeds": [{}]}, "embeds.0.description"),
        ({"content": "c", "components": [row(BUTTON)] * 6}, "components"),
        ({"content": "c", "components": [row(*[BUTTON] * 6)]}, "components.0.components"),
        (
            {"content": "c", "components": [row({**BUTTON, "custom_id": "x" * 101})]},
            "components.0.components.0.custom_id",
        ),
        ({"content": "c", "components": [row({**BUTTON, "label": "x" * 81})]}, "components.0.components.0.label"),
        ({"content": "c", "components": [row(BUTTON, BUTTON)]}, "components.0.components.1.custom_id"),
        ({"content": "c", "nonce": "x" * 26}, "nonce"),
        ({"content": "c", "allowed_mentions": {"parse": ["users"], "users": ["1"]}}, "allowed_mentions.users"),
        ({"content": "c", "allowed_mentions": {"parse": ["all"]}}, "allowed_mentions.parse.0"),
    ],
)
def test_a_message_beyond_a_limit_is_refused_with_the_field(
    fake: FakeDiscord, api: httpx2.Client, body: dict[str, Any], path: str
) -> None:
    answer = post(api, fake, body)

    assert answer.status_code == 400
    assert answer.json()["code"] == 50035
    node = answer.json()["errors"]
    for part in path.split("."):
        node = node[part]
    assert node["_errors"][0]["code"]
    assert fake.messages(fake.channel("races")) == []


def test_a_message_at_every_limit_is_accepted(fake: FakeDiscord, api: httpx2.Client) -> None:
    fields = [{"name": "n" * 56, "value": "v" * 24}] * 25
    ids = iter(range(25))
    rows = [
        row(*({**BUTTON, "label": "x" * 80, "custom_id": f"{next(ids):0>100}"} for _ in range(5))) for _ in range(5)
    ]
    embed = {"title": "t" * 256, "description": "d" * 3744, "fields": fields}

    answer = post(api, fake, {"content": "c" * 2000, "embeds": [embed], "components": rows, "nonce": "n" * 25})

    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/json"
    assert len(answer.json()["embeds"][0]["fields"]) == 25


@pytest.mark.parametrize("body", [{}, {"content": ""}, {"content": " \n"}, {"content": None, "embeds": []}])
def test_an_empty_message_is_refused(fake: FakeDiscord, api: httpx2.Client, body: dict[str, Any]) -> None:
    assert post(api, fake, body).json()["code"] == 50006


def test_a_wrong_token_is_refused_and_counted(fake: FakeDiscord) -> None:
    answer = httpx2.get(f"{fake.api_url}/users/@me", headers={"Authorization": "Bot wrong"})

    assert (answer.status_code, answer.json()) == (401, {"message": "401: Unauthorized", "code": 0})
    assert fake.invalid_requests() == 1


@pytest.mark.parametrize(
    ("method", "path", "code"),
    [
        ("GET", "/channels/1/messages", 10003),
        ("GET", "/channels/{races}/messages/1", 10008),
        ("PATCH", "/channels/{races}/messages/1", 10008),
        ("DELETE", "/channels/{races}/messages/1", 10008),
        ("GET", "/guilds/1", 10004),
        ("GET", "/users/1", 10013),
        ("GET", "/applications/{app}/commands/1", 10063),
        ("POST", "/interactions/1/token/callback", 10062),
        ("GET", "/no/such/route", 0),
    ],
)
def test_what_does_not_exist_is_not_found(
    fake: FakeDiscord, api: httpx2.Client, method: str, path: str, code: int
) -> None:
    path = path.format(races=fake.channel("races").id, app=fake.application_id)

    answer = api.request(method, path, json=None if method == "GET" else {"content": "x", "type": 4})

    assert (answer.status_code, answer.json()["code"]) == (404, code)


def test_a_person_who_blocks_the_bot_gets_no_direct_message(fake: FakeDiscord, api: httpx2.Client) -> None:
    ben = fake.person("Ben Reader")
    fake.block(ben)

    channel = api.post("/users/@me/channels", json={"recipient_id": str(ben.id)}).json()["id"]
    answer = api.post(f"/channels/{channel}/messages", json={"content": "hello"})

    assert (answer.status_code, answer.json()["code"]) == (403, 50007)
    fake.block(ben, blocks=False)
    assert api.post(f"/channels/{channel}/messages", json={"content": "hello"}).status_code == 200
    assert [each.content for each in fake.messages(fake.direct(ben))] == ["hello"]


@pytest.mark.parametrize(("denied", "code"), [("send_messages", 50013), ("view_channel", 50001)])
def test_a_missing_permission_is_refused(fake: FakeDiscord, api: httpx2.Client, denied: str, code: int) -> None:
    fake.deny(fake.channel("races"), denied)

    answer = post(api, fake, {"content": "x"})

    assert (answer.status_code, answer.json()["code"]) == (403, code)


def test_a_repeated_nonce_returns_the_message_that_exists(fake: FakeDiscord, api: httpx2.Client) -> None:
    body = {"content": "once", "nonce": "headrace-1", "enforce_nonce": True}

    first, second = post(api, fake, body).json(), post(api, fake, {**body, "content": "twice"}).json()

    assert (second["id"], second["content"], second["nonce"]) == (first["id"], "once", "headrace-1")
    assert post(api, fake, {**body, "enforce_nonce": False}).json()["id"] != first["id"]
    assert len(fake.messages(fake.channel("races"))) == 2


def test_a_nonce_is_forgotten_after_some_minutes() -> None:
    now = [1_800_000_000.0]
    body = {"content": "x", "nonce": "1", "enforce_nonce": True}
    with FakeDiscord(clock=lambda: now[0], nonce_s=180) as fake, api_client(fake) as api:
        first = post(api, fake, body).json()["id"]
        now[0] += 179
        again = post(api, fake, body).json()["id"]
        now[0] += 2
        later = post(api, fake, body).json()["id"]

    assert again == first
    assert int(later) > int(first)


@pytest.mark.parametrize(
    ("content", "allowed", "pings"),
    [
        ("@everyone", None, ["everyone"]),
        ("@everyone", {"parse": []}, []),
        ("hello <@{ana}> and <@&{operator}>", None, ["role:{operator}", "user:{ana}"]),
        ("hello <@{ana}> and <@&{operator}>", {"parse": ["users"]}, ["user:{ana}"]),
        ("hello <@{ana}> and <@{ben}>", {"users": ["{ben}"]}, ["user:{ben}"]),
        ("`<@{ana}>` and ```@everyone```", None, []),
        ("<@1> <@&1>", None, []),
    ],
)
def test_mentions_notify_as_allowed(
    fake: FakeDiscord, api: httpx2.Client, content: str, allowed: dict[str, Any] | None, pings: list[str]
) -> None:
    ids = {"ana": fake.person("Ana Operator").id, "ben": fake.person("Ben Reader").id}
    ids["operator"] = fake.role("operator").id

    def filled(value: object) -> Any:
        text = json.dumps(value)
        for name, number in ids.items():
            text = text.replace("{" + name + "}", str(number))
        return json.loads(text)

    post(api, fake, {"content": filled(content), "allowed_mentions": filled(allowed)})

    [message] = fake.messages(fake.channel("races"))
    assert list(fake.pings(message)) == filled(pings)


def test_an_embed_and_an_edit_notify_no_one(fake: FakeDiscord, api: httpx2.Client) -> None:
    posted = post(api, fake, {"content": "x", "embeds": [{"description": "@everyone"}]}).json()
    api.patch(f"/channels/{posted['channel_id']}/messages/{posted['id']}", json={"content": "@everyone"})

    [message] = fake.messages(fake.channel("races"))
    assert fake.pings(message) == ()
    assert message.content == "@everyone"


def test_only_the_author_edits_a_message(fake: FakeDiscord, api: httpx2.Client) -> None:
    message = fake.say(fake.person("Ana Operator"), fake.channel("races"), "mine")

    answer = api.patch(f"/channels/{message.channel.id}/messages/{message.id}", json={"content": "not yours"})

    assert (answer.status_code, answer.json()["code"]) == (403, 50005)


@pytest.mark.parametrize("route", ["/channels/{c}/pins/{m}", "/channels/{c}/messages/pins/{m}"])
def test_pins_have_an_old_and_a_new_route(fake: FakeDiscord, api: httpx2.Client, route: str) -> None:
    posted = post(api, fake, {"content": "board"}).json()
    channel, path = posted["channel_id"], route.format(c=posted["channel_id"], m=posted["id"])

    assert api.put(path).status_code == 204
    assert [each["id"] for each in api.get(f"/channels/{channel}/pins").json()] == [posted["id"]]
    assert api.get(f"/channels/{channel}/messages/pins").json()["items"][0]["message"]["id"] == posted["id"]
    assert api.delete(path).status_code == 204
    assert api.get(f"/channels/{channel}/pins").json() == []


def test_a_message_has_one_thread_at_most(fake: FakeDiscord, api: httpx2.Client) -> None:
    posted = post(api, fake, {"content": "alert"}).json()
    path = f"/channels/{posted['channel_id']}/messages/{posted['id']}/threads"

    thread = api.post(path, json={"name": "Details"})
    again = api.post(path, json={"name": "Details"})

    assert (thread.status_code, thread.json()["id"]) == (201, posted["id"])
    assert (again.status_code, again.json()["code"]) == (400, 160004)


def test_messages_are_listed_newest_first_in_pages(fake: FakeDiscord, api: httpx2.Client) -> None:
    for number in range(5):
        fake.say(fake.person("Ana Operator"), fake.channel("races"), str(number))
    path = f"/channels/{fake.channel('races').id}/messages"

    page = api.get(path, params={"limit": 2}).json()
    before = api.get(path, params={"limit": 2, "before": page[-1]["id"]}).json()
    after = api.get(path, params={"limit": 2, "after": before[-1]["id"]}).json()

    assert [[each["content"] for each in each_page] for each_page in (page, before, after)] == [
        ["4", "3"],
        ["2", "1"],
        ["3", "2"],
    ]
    assert api.get(path, params={"limit": 101}).json()["code"] == 50035


def test_a_webhook_posts_under_its_name(fake: FakeDiscord) -> None:
    webhook = fake.webhook(fake.channel("races"), "Tips")

    answer = httpx2.post(f"{fake.api_url}/webhooks/{webhook.id}/{webhook.token}?wait=true", json={"content": "hello"})
    refused = httpx2.post(f"{fake.api_url}/webhooks/{webhook.id}/wrong", json={"content": "hello"})

    assert (answer.status_code, answer.json()["author"]["username"]) == (200, "Tips")
    assert (refused.status_code, refused.json()["code"]) == (404, 10015)


def test_ids_increase_and_contain_the_time(fake: FakeDiscord, api: httpx2.Client) -> None:
    ids = [int(post(api, fake, {"content": str(number)}).json()["id"]) for number in range(5)]

    assert ids == sorted(set(ids))
    assert all(17 <= len(str(each)) <= 20 for each in ids)


def test_the_log_has_every_request(fake: FakeDiscord, api: httpx2.Client) -> None:
    post(api, fake, {"content": "x"})

    [request] = fake.requests("POST /channels/*/messages")
    assert (request.status, request.body) == (200, {"content": "x"})
