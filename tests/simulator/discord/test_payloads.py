"""Whatever a client sends, the server answers: it accepts the request or says what is wrong."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress

import httpx2
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from simulator.discord.errors import ApiError
from simulator.discord.fake import FakeDiscord
from simulator.discord.message_rules import read_message
from tests.simulator.discord.conftest import api_client

scalars = (
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=30)
)
names = st.sampled_from(
    [
        *("content", "embeds", "components", "flags", "nonce", "allowed_mentions", "attachments", "message_reference"),
        *("title", "description", "fields", "footer", "image", "url", "timestamp", "color", "name", "value", "inline"),
        *("type", "style", "label", "custom_id", "options", "disabled", "parse", "users", "id", "data", "choices"),
        *("min_length", "required", "autocomplete", "default_member_permissions", "contexts", "text", "icon_url"),
    ]
)
values = st.recursive(
    scalars | st.sampled_from(range(17)),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(names, inner, max_size=6),
    max_leaves=25,
)
bodies = values | st.dictionaries(names, values, min_size=1, max_size=8)


@pytest.fixture(scope="module")
def server() -> Iterator[FakeDiscord]:
    with FakeDiscord(rate_limits=False) as fake:
        yield fake


@pytest.fixture(scope="module")
def client(server: FakeDiscord) -> Iterator[httpx2.Client]:
    with api_client(server) as api:
        yield api


@given(body=bodies)
def test_any_message_is_read_or_refused(body: object) -> None:
    with suppress(ApiError):
        read_message(body if isinstance(body, dict) else {"content": body, "embeds": body, "components": body}, ())


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/channels/{channel}/messages"),
        ("PATCH", "/channels/{channel}/messages/{message}"),
        ("POST", "/channels/{channel}/messages/{message}/threads"),
        ("PUT", "/applications/{app}/commands"),
        ("POST", "/applications/{app}/guilds/{guild}/commands"),
        ("POST", "/users/@me/channels"),
        ("PATCH", "/channels/{channel}"),
    ],
)
@settings(max_examples=60)
@given(body=bodies)
def test_no_body_makes_the_server_fail(
    server: FakeDiscord, client: httpx2.Client, method: str, path: str, body: object
) -> None:
    channel = server.channel("races")
    message = client.post(f"/channels/{channel.id}/messages", json={"content": "x"}).json()["id"]
    path = path.format(channel=channel.id, message=message, app=server.application_id, guild=server.guild_id)

    answer = client.request(method, path, json=body)

    assert answer.status_code < 500
    listed = client.get(f"/channels/{channel.id}/messages")
    assert listed.status_code == 200


@settings(max_examples=60)
@given(body=bodies)
def test_no_answer_to_an_interaction_makes_the_server_fail(
    server: FakeDiscord, client: httpx2.Client, body: object
) -> None:
    command = {"name": "status", "description": "x"}
    client.post(f"/applications/{server.application_id}/commands", json=command)
    interaction = server.slash(server.person("Ana Operator"), server.channel("general"), "/status")

    answer = client.post(f"/interactions/{interaction.id}/{interaction.token}/callback?with_response=1", json=body)

    assert answer.status_code < 500


@pytest.mark.parametrize(
    "content",
    [
        b"{",
        b"\xff",
        b'{"content": "\\ud800"}',
        b"[" * 100_000,
        b'{"a":' * 900 + b"1" + b"}" * 900,
        b"NaN",
        b'{"content": 1e999}',
    ],
)
def test_a_body_that_is_not_json_is_refused(server: FakeDiscord, client: httpx2.Client, content: bytes) -> None:
    answer = client.post(f"/channels/{server.channel('races').id}/messages", content=content)

    assert answer.status_code == 400


def test_options_that_are_nested_too_deeply_are_refused(server: FakeDiscord, client: httpx2.Client) -> None:
    command: dict[str, object] = {"type": 1, "name": "a", "description": "b"}
    for _ in range(450):
        command = {"type": 1, "name": "a", "description": "b", "options": [command]}

    answer = client.post(f"/applications/{server.application_id}/commands", json=command)

    assert answer.status_code == 400
