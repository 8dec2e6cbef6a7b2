"""The sender on a real ledger and against real servers."""

from __future__ import annotations

import io
import json
import socket
import subprocess
import sys
import tempfile
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any
from uuid import uuid4

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict

from services.notifier.channels.base import Channel, Message, Receipt
from services.notifier.channels.console import ConsoleChannel
from services.notifier.channels.secret_url import SecretUrl
from services.notifier.channels.webhook import WebhookChannel
from services.notifier.delivery.channel_loop import ChannelLoop, Connect, DeliveryOptions
from services.notifier.delivery.rules import SendEverything
from services.notifier.delivery.sender import Sender
from services.notifier.pacing import DeliveryPolicy, RateLimit
from services.notifier.storage import postgres_claims as claims
from services.notifier.storage import postgres_ledger as ledger
from services.notifier.storage.postgres_ledger import NewNotification
from services.notifier.storage.postgres_sending_hold import read_closed
from shared.database.connection import limited_connection
from tests.contract.database import read_only
from tests.proxy import CHUNK_BYTES, Proxy, connect_postgres, postgres_listener, proxied_conninfo, received
from tests.services.notifier.http_receiver import Answer, Receiver
from tests.services.notifier.sending import open_connection
from tests.shared.database.blocking_proxy import silent_proxy
from tests.waiting import DEADLINE_S, terminate_backends, wait_until

Connection = psycopg.Connection[Any]
FAST_POLICY = DeliveryPolicy(poll_s=0.01, backoff_first_s=0.02, backoff_max_s=0.05)
EVERYTHING = SendEverything()
OPTIONS = DeliveryOptions(DeliveryPolicy(), lambda *_: None)

# A sender in its own process. It reads the URLs from stdin, because the database's URL contains a password.
SENDER_PROGRAM = """
import json, sys, threading
from shared.database.connection import limited_connection
from services.notifier.pacing import DeliveryPolicy
from services.notifier.channels.secret_url import SecretUrl
from services.notifier.delivery.channel_loop import DeliveryOptions
from services.notifier.delivery.sender import Sender
from services.notifier.channels.webhook import WebhookChannel

urls = json.load(sys.stdin)
channel = WebhookChannel({"": SecretUrl(urls["webhook"])}, timeout_s=60)
options = DeliveryOptions(DeliveryPolicy(), lambda *_: None)
Sender(lambda: limited_connection(urls["database"], "sender", 60), [channel], options).run(threading.Event())
"""


class FastWebhook(WebhookChannel):
    """Without the rate limit, which has its own tests."""

    rate = RateLimit(burst=100_000, per_s=100_000)


@pytest.fixture
def webhook(receiver: Receiver) -> WebhookChannel:
    return FastWebhook({"": SecretUrl(receiver.url)})


def link_factory(url: str) -> Connect:
    return partial(limited_connection, url, "sender", DEADLINE_S)


def record_notifications(database: Connection, count: int, channel: str = "webhook") -> None:
    ledger.record_notifications(
        database, [NewNotification(uuid4(), "tip", "k", f"text {n}") for n in range(count)], [channel]
    )


def states(database: Connection) -> dict[str, int]:
    return dict(database.execute("SELECT state, count(*) FROM notifier.ledger GROUP BY state").fetchall())


@contextmanager
def running_sender(
    url: str,
    *channels: Channel,
    delivery: DeliveryPolicy = FAST_POLICY,
    count: Counter[Any] | None = None,
    rules: SendEverything = EVERYTHING,
) -> Iterator[None]:
    outcomes: Counter[Any] = Counter() if count is None else count

    def on_outcome(channel: str, outcome: str) -> None:
        outcomes[channel, outcome] += 1

    stop = threading.Event()
    sender = Sender(link_factory(url), channels, DeliveryOptions(delivery, on_outcome, rules))
    thread = threading.Thread(target=sender.run, args=(stop,))
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join(DEADLINE_S)
        assert not thread.is_alive()


def test_everything_pending_is_sent_in_order(
    database: Connection, database_url: str, webhook: WebhookChannel, receiver: Receiver
) -> None:
    record_notifications(database, 5)
    count: Counter[Any] = Counter()

    with running_sender(database_url, webhook, count=count):
        wait_until(lambda: states(database) == {"sent": 5})

    assert [request.body["text"] for request in receiver.seen] == [f"text {n}" for n in range(5)]
    assert count == {("webhook", "sent"): 5}


def test_two_senders_at_once_never_send_twice(
    database: Connection, database_url: str, webhook: WebhookChannel, receiver: Receiver
) -> None:
    record_notifications(database, 200)

    with (
        running_sender(database_url, webhook),
        running_sender(database_url, FastWebhook({"": SecretUrl(receiver.url)})),
    ):
        wait_until(lambda: states(database) == {"sent": 200})

    assert sorted(Counter(request.headers["Idempotency-Key"] for request in receiver.seen).values()) == [1] * 200


def test_temporary_failures_lose_no_message(
    database: Connection, database_url: str, webhook: WebhookChannel, receiver: Receiver
) -> None:
    record_notifications(database, 3)
    receiver.answers.extend([Answer(500), Answer(503), Answer(429, headers={"Retry-After": "0"})])
    count: Counter[Any] = Counter()

    with running_sender(database_url, webhook, count=count):
        wait_until(lambda: states(database) == {"sent": 3})

    assert count == {("webhook", "retried"): 3, ("webhook", "sent"): 3}
    assert len({request.headers["Idempotency-Key"] for request in receiver.seen}) == 3


def test_messages_wait_for_a_webhook_that_is_gone(
    database: Connection, database_url: str, webhook: WebhookChannel, receiver: Receiver
) -> None:
    record_notifications(database, 2)
    receiver.answers.append(Answer(404))

    with running_sender(database_url, webhook):
        wait_until(lambda: [each.waiting for each in read_closed(database)] == [2])

    assert states(database) == {"pending": 2}
    reason = "webhook answered HTTP 404: its URL is no longer valid or its key is wrong; configure a new URL"
    assert reason in read_closed(database)[0].cause


def test_a_busy_channel_waits_as_long_as_retry_after_says(
    database: Connection, webhook: WebhookChannel, receiver: Receiver
) -> None:
    record_notifications(database, 2)
    receiver.answers.append(Answer(429, headers={"Retry-After": "100"}))
    loop = ChannelLoop(open_connection, webhook, OPTIONS)

    loop.step(database)
    wait_s = loop.step(database)

    assert len(receiver.seen) == 1
    assert wait_s > 0
    delay = database.execute("SELECT extract(epoch FROM due_at - now())::float FROM notifier.ledger WHERE attempts = 1")
    assert delay.fetchone() == (pytest.approx(100, abs=5),)


def test_a_channel_gets_no_more_than_its_rate_limit(database: Connection, receiver: Receiver) -> None:
    class Slow(WebhookChannel):
        rate = RateLimit(burst=2, per_s=0.01)

    record_notifications(database, 3)
    loop = ChannelLoop(open_connection, Slow({"": SecretUrl(receiver.url)}), OPTIONS)

    waits = [loop.step(database) for _ in range(3)]

    assert len(receiver.seen) == 2
    assert waits[:2] == [0, 0]
    assert waits[2] > 0


def test_a_slow_channel_delays_no_other(
    database: Connection, database_url: str, webhook: WebhookChannel, receiver: Receiver
) -> None:
    receiver.open.clear()
    record_notifications(database, 1, "webhook")
    record_notifications(database, 3, "console")
    stream = io.StringIO()

    with running_sender(database_url, webhook, ConsoleChannel(stream)):
        wait_until(lambda: states(database) == {"sent": 3, "sending": 1})
        receiver.open.set()

    assert len(stream.getvalue().splitlines()) == 3


@pytest.mark.parametrize(("retry", "state", "deliveries"), [(False, "unknown", 1), (True, "sent", 2)])
def test_a_sender_killed_between_sending_and_marking_is_handled_by_the_crash_policy(
    database: Connection,
    database_url: str,
    webhook: WebhookChannel,
    receiver: Receiver,
    retry: bool,
    state: str,
    deliveries: int,
) -> None:
    record_notifications(database, 1)
    receiver.open.clear()
    child = subprocess.Popen([sys.executable, "-c", SENDER_PROGRAM], stdin=subprocess.PIPE, text=True)
    try:
        assert child.stdin is not None
        json.dump({"database": database_url, "webhook": receiver.url}, child.stdin)
        child.stdin.close()
        wait_until(lambda: receiver.seen)
    finally:
        child.kill()
        child.wait()
    assert states(database) == {"sending": 1}
    receiver.open.set()
    delivery = FAST_POLICY.model_copy(
        update={"lease_s": 0.05, "retry_after_crash": frozenset({"webhook"} if retry else ())}
    )
    count: Counter[Any] = Counter()

    with running_sender(database_url, webhook, delivery=delivery, count=count):
        wait_until(lambda: states(database) == {state: 1})

    assert len(receiver.seen) == deliveries
    assert count["webhook", "unknown"] == 1


def test_a_starting_sender_leaves_the_claims_of_live_senders_alone(
    database: Connection, database_url: str, webhook: WebhookChannel, receiver: Receiver
) -> None:
    record_notifications(database, 2)
    claims.claim(database, "webhook")

    with running_sender(database_url, webhook):
        wait_until(lambda: states(database) == {"sent": 1, "sending": 1})


def test_a_sent_message_is_marked_when_the_database_is_back(
    database: Connection, database_url: str, webhook: WebhookChannel, receiver: Receiver
) -> None:
    """The sender's connection is cut while its message is sent; no message is sent twice."""
    record_notifications(database, 1)
    receiver.open.clear()

    with running_sender(database_url, webhook):
        wait_until(lambda: receiver.seen)
        assert terminate_backends(database, "datname = current_database()")
        receiver.open.set()
        wait_until(lambda: states(database) == {"sent": 1})

    assert len(receiver.seen) == 1


class LostReplies(Proxy):
    """Breaks the first connection that sends this part of a statement, after the server has executed it."""

    def __init__(self, server: Path, directory: Path, statement: bytes) -> None:
        self.cuts = 0
        self._statement = statement
        super().__init__(postgres_listener(directory), partial(connect_postgres, server))

    def pass_on(self, client: socket.socket, server: socket.socket) -> None:
        other = {client: server, server: client}
        for source, data in received(client, server):
            other_side = other[source]
            other_side.sendall(data)
            if source is client and self._statement in data and not self.cuts:
                server.recv(CHUNK_BYTES)
                self.cuts += 1
                return


@pytest.mark.parametrize("statement", [b"SET state = 'sending', attempts", b"SET state = 'sending', group_id"])
def test_a_claim_whose_reply_was_lost_is_given_back_and_sent_once(
    database: Connection,
    database_url: str,
    webhook: WebhookChannel,
    receiver: Receiver,
    statement: bytes,
    tmp_path: Path,
) -> None:
    """It is not parked: nothing was sent. The policy's lease is an hour, so no lease ends in this test."""
    record_notifications(database, 3)
    policy = FAST_POLICY.model_copy(update={"lease_s": 3_600.0})
    server = Path(str(conninfo_to_dict(database_url)["host"]))
    with (
        tempfile.TemporaryDirectory(prefix="hr-") as directory,
        LostReplies(server, Path(directory), statement) as proxy,
        running_sender(proxied_conninfo(database_url, Path(directory)), webhook, delivery=policy, rules=OneDigest()),
    ):
        wait_until(lambda: states(database) == {"sent": 3})

    assert proxy.cuts == 1
    assert len(receiver.seen) == 1


class OneDigest(SendEverything):
    """What waits goes as one digest."""

    def pace(self, _address: str) -> RateLimit | None:
        return RateLimit(1, 1_000)


def test_a_silent_connection_delays_messages_by_the_answer_limit_only(
    database: Connection, database_url: str, webhook: WebhookChannel, receiver: Receiver
) -> None:
    """The line to the database stays open and passes nothing; without a limit the sender would wait for hours."""
    with silent_proxy(Path(str(conninfo_to_dict(database_url)["host"]))) as proxy:
        url = proxied_conninfo(database_url, proxy.directory)
        sender = Sender(lambda: limited_connection(url, "sender", 1.0), [webhook], OPTIONS)
        stop = threading.Event()
        thread = threading.Thread(target=sender.run, args=(stop,))
        thread.start()
        try:
            record_notifications(database, 1)
            wait_until(lambda: states(database) == {"sent": 1})
            proxy.start_dropping()
            wait_until(lambda: proxy.dropped_bytes)
            record_notifications(database, 1)
            proxy.stop_dropping()
            wait_until(lambda: states(database) == {"sent": 2})
        finally:
            stop.set()
            thread.join(DEADLINE_S)
    assert not thread.is_alive()


def test_a_read_only_database_delays_messages_and_loses_none(
    database: Connection, database_url: str, webhook: WebhookChannel, receiver: Receiver
) -> None:
    def session() -> list[Any]:
        name = "headrace sender"
        return database.execute("SELECT pid FROM pg_stat_activity WHERE application_name = %s", (name,)).fetchall()

    receiver.open.clear()
    record_notifications(database, 2)
    with running_sender(database_url, webhook):
        wait_until(lambda: receiver.seen)
        first = session()
        with read_only(database):
            receiver.open.set()  # the first message arrives, and cannot be marked
            wait_until(lambda: session() not in ([], first))  # it has met the error and connected again
        wait_until(lambda: states(database) == {"sent": 2})

    assert len(receiver.seen) == 2


def test_an_unexpected_error_stops_the_sender_and_is_raised(database: Connection, database_url: str) -> None:
    class Broken(ConsoleChannel):
        def send(self, message: Message) -> Receipt:
            raise LookupError(message.text)

    record_notifications(database, 1, "console")
    stop = threading.Event()

    with pytest.raises(LookupError, match="text 0"):
        Sender(
            link_factory(database_url),
            [Broken(io.StringIO()), ConsoleChannel(io.StringIO(), "other")],
            DeliveryOptions(FAST_POLICY, lambda *_: None),
        ).run(stop)

    assert stop.is_set()
