"""Application commands, and interactions that use them."""

from __future__ import annotations

from typing import Any

import httpx2
import pytest

from simulator.discord.fake import FakeDiscord
from simulator.discord.fake_interaction import FakeInteraction
from tests.simulator.discord.conftest import api_client

STATUS = {"name": "status", "description": "The state of the pipeline"}
OPTION = {"type": 3, "name": "service", "description": "Which one"}
PAUSE = {
    "name": "pause",
    "description": "Pause a stage",
    "options": [
        {**OPTION, "required": True, "choices": [{"name": "cleaner", "value": "cleaner"}]},
        {"type": 4, "name": "minutes", "description": "For how long", "min_value": 1},
        {"type": 3, "name": "reason", "description": "Why", "autocomplete": True},
    ],
}


def register(api: httpx2.Client, fake: FakeDiscord, *commands: dict[str, Any]) -> httpx2.Response:
    return api.put(f"/applications/{fake.application_id}/commands", json=list(commands))


def answer(fake: FakeDiscord, interaction: FakeInteraction, body: dict[str, Any]) -> httpx2.Response:
    url = f"{fake.api_url}/interactions/{interaction.id}/{interaction.token}/callback?with_response=true"
    return httpx2.post(url, json=body)


def webhook(fake: FakeDiscord, interaction: FakeInteraction, path: str = "") -> str:
    return f"{fake.api_url}/webhooks/{fake.application_id}/{interaction.token}{path}"


@pytest.mark.parametrize(
    ("command", "code"),
    [
        ({**STATUS, "name": "Status"}, "APPLICATION_COMMAND_INVALID_NAME"),
        ({**STATUS, "name": "two words"}, "APPLICATION_COMMAND_INVALID_NAME"),
        ({**STATUS, "name": "x" * 33}, "BASE_TYPE_BAD_LENGTH"),
        ({**STATUS, "description": ""}, "BASE_TYPE_BAD_LENGTH"),
        ({**STATUS, "description": "x" * 101}, "BASE_TYPE_BAD_LENGTH"),
        ({**STATUS, "options": [{**OPTION, "name": f"o{n}"} for n in range(26)]}, "BASE_TYPE_MAX_LENGTH"),
        ({**STATUS, "options": [OPTION, OPTION]}, "APPLICATION_COMMAND_OPTIONS_NAME_ALREADY_EXISTS"),
        (
            {**STATUS, "options": [OPTION, {**OPTION, "name": "b", "required": True}]},
            "APPLICATION_COMMAND_OPTIONS_REQUIRED_INVALID",
        ),
        ({**STATUS, "options": [{**OPTION, "choices": [{"name": "a", "value": "b"}] * 26}]}, "BASE_TYPE_MAX_LENGTH"),
    ],
)
def test_a_command_beyond_a_limit_is_refused(
    fake: FakeDiscord, api: httpx2.Client, command: dict[str, Any], code: str
) -> None:
    refused = register(api, fake, command)

    assert (refused.status_code, refused.json()["code"]) == (400, 50035)
    assert code in refused.text


def test_commands_are_created_changed_and_deleted(fake: FakeDiscord, api: httpx2.Client) -> None:
    path = f"/applications/{fake.application_id}/guilds/{fake.guild_id}/commands"
    created = api.post(path, json=STATUS)
    number = created.json()["id"]
    changed = api.patch(f"{path}/{number}", json={"description": "Another text"})

    assert created.status_code == 201
    assert api.post(path, json=STATUS).status_code == 200
    assert changed.json()["description"] == "Another text"
    assert api.put(path, json=[STATUS, PAUSE]).json()[0]["id"] == number
    assert [each["name"] for each in fake.commands()] == ["pause", "status"]
    assert api.delete(f"{path}/{number}").status_code == 204
    assert [each["name"] for each in api.get(path).json()] == ["pause"]


@pytest.mark.parametrize(
    ("text", "options"),
    [
        ("/unknown", {}),
        ("/pause", {}),
        ("/pause", {"service": "loader"}),
        ("/pause", {"service": "cleaner", "minutes": 0}),
        ("/pause", {"service": "cleaner", "minutes": "5"}),
        ("/pause", {"service": "cleaner", "unknown": "x"}),
    ],
)
def test_a_command_that_the_client_would_not_send_is_refused(
    fake: FakeDiscord, api: httpx2.Client, text: str, options: dict[str, Any]
) -> None:
    register(api, fake, PAUSE)

    with pytest.raises(ValueError, match=r"registered|needs|must be|has no option"):
        fake.slash(fake.person("Ana Operator"), fake.channel("races"), text, options)


def test_the_answer_can_be_edited_extended_and_deleted(fake: FakeDiscord, api: httpx2.Client) -> None:
    register(api, fake, STATUS)
    interaction = fake.slash(fake.person("Ana Operator"), fake.channel("races"), "/status")

    response = answer(fake, interaction, {"type": 4, "data": {"content": "first", "flags": 64}}).json()
    httpx2.patch(webhook(fake, interaction, "/messages/@original"), json={"content": "edited"})
    more = httpx2.post(webhook(fake, interaction), json={"content": "more"}).json()

    assert response["interaction"]["response_message_ephemeral"] is True
    assert response["resource"]["message"]["content"] == "first"
    assert [each.content for each in interaction.messages] == ["edited", "more"]
    assert httpx2.get(webhook(fake, interaction, f"/messages/{more['id']}")).json()["content"] == "more"
    assert httpx2.delete(webhook(fake, interaction, "/messages/@original")).status_code == 204
    assert httpx2.get(webhook(fake, interaction, "/messages/@original")).json()["code"] == 10008


def test_an_interaction_has_one_first_answer(fake: FakeDiscord, api: httpx2.Client) -> None:
    register(api, fake, STATUS)
    interaction = fake.slash(fake.person("Ana Operator"), fake.channel("races"), "/status")

    early = httpx2.post(webhook(fake, interaction), json={"content": "too early"})
    wrong = answer(fake, interaction, {"type": 8, "data": {"choices": []}})
    first = answer(fake, interaction, {"type": 5})
    second = answer(fake, interaction, {"type": 4, "data": {"content": "again"}})

    assert [each.json().get("code") for each in (early, wrong, first, second)] == [10015, 50035, None, 40060]


def test_an_answer_after_three_seconds_is_refused_and_recorded() -> None:
    now = [1_800_000_000.0]
    with FakeDiscord(clock=lambda: now[0]) as fake, api_client(fake) as api:
        register(api, fake, STATUS)
        interaction = fake.slash(fake.person("Ana Operator"), fake.channel("races"), "/status")
        now[0] += 3.1
        late = answer(fake, interaction, {"type": 5})

        assert (late.status_code, late.json()["code"]) == (404, 10062)
        assert interaction.answered_within is None
        assert interaction.late_answers == 1


def test_a_token_is_valid_for_fifteen_minutes() -> None:
    now = [1_800_000_000.0]
    with FakeDiscord(clock=lambda: now[0]) as fake, api_client(fake) as api:
        register(api, fake, STATUS)
        interaction = fake.slash(fake.person("Ana Operator"), fake.channel("races"), "/status")
        now[0] += 2
        answer(fake, interaction, {"type": 5})
        now[0] += 15 * 60 - 3
        in_time = httpx2.patch(webhook(fake, interaction, "/messages/@original"), json={"content": "in time"})
        now[0] += 2
        late = httpx2.patch(webhook(fake, interaction, "/messages/@original"), json={"content": "late"})

    assert interaction.answered_within == 2
    assert in_time.status_code == 200
    assert (late.status_code, late.json()["code"]) == (401, 50027)


def test_a_click_edits_the_message_of_its_button(fake: FakeDiscord, api: httpx2.Client) -> None:
    button = {"type": 2, "style": 4, "label": "Acknowledge", "custom_id": "hr:ack:1"}
    body = {"content": "down", "components": [{"type": 1, "components": [button]}]}
    api.post(f"/channels/{fake.channel('operations').id}/messages", json=body)
    [message] = fake.messages(fake.channel("operations"))

    interaction = fake.click(fake.person("Ana Operator"), message, "hr:ack:1")
    answer(fake, interaction, {"type": 7, "data": {"content": "acknowledged", "components": []}})

    assert interaction.original is message
    assert (message.content, message.components) == ("acknowledged", [])
    with pytest.raises(ValueError, match="no enabled component"):
        fake.click(fake.person("Ana Operator"), message, "hr:ack:1")


def test_completions_are_recorded(fake: FakeDiscord, api: httpx2.Client) -> None:
    register(api, fake, PAUSE)

    interaction = fake.autocomplete(
        fake.person("Ana Operator"), fake.channel("races"), "/pause", {"reason": "dep"}, "reason"
    )
    too_many = [{"name": str(n), "value": str(n)} for n in range(26)]
    refused = answer(fake, interaction, {"type": 8, "data": {"choices": too_many}})
    answer(fake, interaction, {"type": 8, "data": {"choices": too_many[:1]}})

    assert refused.json()["code"] == 50035
    assert interaction.choices == [{"name": "0", "value": "0"}]


def test_a_dialog_is_submitted_as_an_interaction(fake: FakeDiscord, api: httpx2.Client) -> None:
    register(api, fake, STATUS)
    interaction = fake.slash(fake.person("Ana Operator"), fake.channel("races"), "/status")
    field = {"type": 4, "custom_id": "why", "label": "Why", "style": 1}
    dialog = {"custom_id": "d", "title": "Reason", "components": [{"type": 1, "components": [field]}]}

    answer(fake, interaction, {"type": 9, "data": dialog})
    submitted = interaction.submit({"why": "deploy"})
    answer(fake, submitted, {"type": 4, "data": {"content": "thanks"}})

    assert submitted.content == "thanks"


def test_a_command_of_the_guild_is_not_shown_in_direct_messages(fake: FakeDiscord, api: httpx2.Client) -> None:
    api.put(f"/applications/{fake.application_id}/guilds/{fake.guild_id}/commands", json=[STATUS])
    register(api, fake, {**PAUSE, "contexts": [0]}, {**STATUS, "name": "help"})
    ana = fake.person("Ana Operator")

    assert fake.slash(ana, fake.direct(ana), "/help").person is ana
    for text in ("/status", "/pause"):
        with pytest.raises(ValueError, match="no command"):
            fake.slash(ana, fake.direct(ana), text)
