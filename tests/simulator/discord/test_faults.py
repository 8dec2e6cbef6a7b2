"""The faults that a test can plan, and the rate limits."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx2
import pytest

from simulator.discord.fake import FakeDiscord
from simulator.discord.faults import Fault
from tests.simulator.discord.conftest import api_client

POSTS = "POST /channels/*/messages"
BODY = {"content": "hello"}


def post(api: httpx2.Client, fake: FakeDiscord, body: dict[str, Any] | None = None) -> httpx2.Response:
    return api.post(f"/channels/{fake.channel('races').id}/messages", json=body or BODY)


def posted(fake: FakeDiscord) -> int:
    return len(fake.messages(fake.channel("races")))


@pytest.mark.parametrize(("is_executed", "count"), [(False, 0), (True, 1)])
@pytest.mark.parametrize("status", [500, 502])
def test_a_server_error_comes_before_or_after_the_message(
    fake: FakeDiscord, api: httpx2.Client, status: int, is_executed: bool, count: int
) -> None:
    fault = fake.faults.plan(Fault(POSTS, status=status, is_executed=is_executed))

    assert post(api, fake).status_code == status
    assert (posted(fake), fault.hits) == (count, 1)
    assert post(api, fake).status_code == 200


@pytest.mark.parametrize(("is_executed", "count"), [(False, 0), (True, 1)])
def test_a_connection_breaks_before_or_after_the_message(
    fake: FakeDiscord, api: httpx2.Client, is_executed: bool, count: int
) -> None:
    fake.faults.plan(Fault(POSTS, disconnects=True, is_executed=is_executed))

    with pytest.raises(httpx2.TransportError):
        post(api, fake)

    assert posted(fake) == count
    assert fake.requests(POSTS)[0].status is None


def test_a_storm_of_refusals_is_counted(fake: FakeDiscord, api: httpx2.Client) -> None:
    fake.faults.plan(Fault(POSTS, times=3, status=429, retry_after_s=0.25))

    answers = [post(api, fake) for _ in range(4)]

    assert [each.status_code for each in answers] == [429, 429, 429, 200]
    assert answers[0].json() == {"message": "You are being rate limited.", "retry_after": 0.25, "global": False}
    assert answers[0].headers["Via"]
    assert fake.invalid_requests() == 3


def test_a_global_refusal_says_so(fake: FakeDiscord, api: httpx2.Client) -> None:
    fake.faults.plan(Fault("*", status=429, is_global=True))

    answer = api.get("/users/@me")

    assert (answer.json()["global"], answer.headers["X-RateLimit-Global"]) == (True, "true")


def test_a_held_request_has_its_effect_and_no_response(fake: FakeDiscord, api: httpx2.Client) -> None:
    with ThreadPoolExecutor(1) as pool:
        with fake.faults.held(POSTS):
            answer = pool.submit(post, api, fake)
            fake.wait_for(lambda: posted(fake) == 1)
            assert not answer.done()
        assert answer.result().status_code == 200

    assert post(api, fake).status_code == 200


def test_a_slow_response_comes_late(fake: FakeDiscord, api: httpx2.Client) -> None:
    fake.faults.plan(Fault("GET /users/@me", delay_s=0.2))

    assert api.get("/users/@me").elapsed.total_seconds() >= 0.2


def test_a_revoked_token_is_refused_until_healed(fake: FakeDiscord, api: httpx2.Client) -> None:
    fake.faults.revoke_token()

    assert api.get("/users/@me").status_code == 401
    fake.faults.heal()
    assert api.get("/users/@me").status_code == 200


def test_a_bucket_refuses_the_sixth_message_in_its_window() -> None:
    now = [1_800_000_000.0]
    with FakeDiscord(clock=lambda: now[0]) as fake, api_client(fake) as api:
        answers = [post(api, fake) for _ in range(6)]
        other = api.post(f"/channels/{fake.channel('general').id}/messages", json=BODY)
        now[0] += 5
        later = post(api, fake)

    assert [each.status_code for each in answers] == [200] * 5 + [429]
    assert [each.headers["X-RateLimit-Remaining"] for each in answers] == ["4", "3", "2", "1", "0", "0"]
    assert answers[5].json()["retry_after"] == 5.0
    assert answers[5].headers["X-RateLimit-Scope"] == "user"
    assert other.headers["X-RateLimit-Bucket"] == answers[0].headers["X-RateLimit-Bucket"]
    assert (other.status_code, later.status_code) == (200, 200)


def test_the_bot_may_send_fifty_requests_a_second() -> None:
    now = [1_800_000_000.0]
    with FakeDiscord(clock=lambda: now[0]) as fake, api_client(fake) as api:
        # Each channel has a bucket of its own, of ten requests.
        channels = [fake.direct(fake.person(f"Reader {number}")) for number in range(6)]
        answers = [api.get(f"/channels/{channels[number // 10].id}") for number in range(51)]

    assert [each.status_code for each in answers] == [200] * 50 + [429]
    assert answers[50].json()["global"] is True
