"""A broker on which every join takes longer than the first limit."""

from __future__ import annotations

import socket
import struct
import time
from collections.abc import Iterator
from contextlib import closing
from functools import partial
from uuid import uuid4

import pytest

from shared.broker.kafka.broker import KafkaBroker
from shared.broker.kafka.consumer import JOINING_PER_SESSION
from shared.settings.sections import KafkaSettings
from shared.topics import TopicSpec
from tests.kafka.use import KafkaInUse
from tests.proxy import Proxy, received
from tests.waiting import wait_until

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")]
TOPIC = "slow"
SESSION_S = 2.0
JOIN_DELAY_S = 1.5 * SESSION_S * JOINING_PER_SESSION
_JOIN_GROUP = 11


class SlowJoinProxy(Proxy):
    """Forwards everything, a request to join a group with a delay. The client sends each request at once."""

    def pass_on(self, client: socket.socket, server: socket.socket) -> None:
        for source, data in received(client, server):
            if source is server:
                client.sendall(data)
                continue
            if len(data) >= 6 and struct.unpack_from(">h", data, 4) == (_JOIN_GROUP,):
                time.sleep(JOIN_DELAY_S)
            server.sendall(data)


@pytest.fixture
def broker(kafka: KafkaInUse, database_url: str) -> Iterator[KafkaBroker]:
    listener = kafka.require_own().proxied_listeners[0]
    proxy = SlowJoinProxy(
        socket.create_server(("127.0.0.1", listener.advertised_port)),
        partial(socket.create_connection, ("127.0.0.1", listener.port), 5),
    )
    settings = KafkaSettings(environment=uuid4().hex, session_timeout_s=SESSION_S)
    url = f"kafka://127.0.0.1:{listener.advertised_port}"
    with kafka.empty(), closing(proxy), closing(KafkaBroker(url, settings, database_url)) as broker:
        broker.ensure_topics([TopicSpec(TOPIC, 2, None)])
        yield broker


def test_a_member_joins_a_slow_group(broker: KafkaBroker) -> None:
    with closing(broker.consumer("cleaner", [TOPIC], "cleaner-0")) as consumer:

        def owns_both() -> bool:
            consumer.poll(0.1, 10)
            return len(consumer.assignment()) == 2

        wait_until(owns_both)
