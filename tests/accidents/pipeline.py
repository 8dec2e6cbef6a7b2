"""The hops from a source to notifications, in threads: fetcher, loader, relay, predictor and notifier on a real broker.

Loader, relay and notifier are the real ones. The fetcher writes clean events from a list and notes in its cursors what
it has written; the predictor notes the events that reach it. Like under a supervisor, a loop that ends with an error is
started again.
"""

from __future__ import annotations

import gc
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from typing import Any, Self

import psycopg

from services.loader.load import Loader
from services.notifier.notify import Notifier
from shared.broker.contract import Broker, NewRecord
from shared.broker.postgres.losses import accept
from shared.errors import BrokerError, HeadraceError, TransientError
from shared.ops.orders import DesiredState, Order, Orders
from shared.records import DecodedRecord, encode
from shared.runtime.control.mailbox import ControlMailbox
from shared.runtime.loops.consumer import ConsumerLoop
from shared.runtime.loops.handler import Handler, InTransaction, InUnit, SourceStep
from shared.runtime.loops.outbox import RELAY, Outbox
from shared.runtime.loops.poller import PollerLoop
from shared.runtime.metrics import Metrics
from shared.topics import CLEAN, FETCHER_CURSORS, LOADED, OUTBOX_CURSORS, topic_specs
from tests.contract.records import settle
from tests.services.loader.facts import StillClock, at, listed, received, settled
from tests.services.notifier.books import book_of
from tests.waiting import wait_until

RULES = book_of(big_payout={"finding": "big-payout", "markets": ("exacta",), "threshold": 1})
READS = {"loader": CLEAN, "predictor": LOADED, "notifier": LOADED}

OpenBroker = Callable[[], Broker]
Loop = ConsumerLoop | PollerLoop


class Restarted:
    """A loop in a thread; a new one replaces it when it ends with an error of Headrace."""

    def __init__(self, make: Callable[[], Loop]) -> None:
        self._make = make
        self.loop = make()
        self.error: BaseException | None = None
        self._is_stopping = False
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def stop(self) -> None:
        self._is_stopping = True
        self.loop.stop()
        self._thread.join()
        assert self.error is None, repr(self.error)

    def _run(self) -> None:
        try:
            while not self._is_stopping:
                try:
                    self.loop.run()
                except HeadraceError:
                    self.loop = self._make()
        except Exception as error:  # noqa: BLE001  # raised by stop
            self.error = error


class ListedSource:
    """The cards and results of listed events. Each is a step; its cursor says that it is written."""

    def __init__(self) -> None:
        self.numbers: list[int] = []
        self._written: set[str] = set()

    def load(self, cursors: Mapping[str, bytes]) -> None:
        self._written = set(cursors)

    def next(self, timeout_s: float) -> SourceStep | None:
        for number in list(self.numbers):
            if str(number) not in self._written:
                self._written.add(str(number))
                return SourceStep(clean_records(number), {str(number): b"written"})
        time.sleep(min(timeout_s, 0.1))
        return None


class Pipeline:
    """Leaving the block stops it. `conninfo`: of the database."""

    def __init__(self, open_broker: OpenBroker, conninfo: str) -> None:
        self.metrics = Metrics()
        self.predicted: list[str] = []
        self.brokers: list[Broker] = []
        self.outboxes: list[Outbox] = []
        self._open_broker = open_broker
        self._conninfo = conninfo
        self._loops: dict[str, Restarted] = {}
        self.source = ListedSource()
        self._mailboxes = {service: ControlMailbox(Orders()) for service in READS}
        self._seq = 0

    def __enter__(self) -> Self:
        handlers: dict[str, Handler] = {
            "loader": InTransaction(Loader(StillClock(at(30)), Metrics()).handle),
            "predictor": InUnit(self._predict),
            "notifier": InTransaction(Notifier(["console"], StillClock(at(30)), lambda: RULES).handle),
        }
        for service, handler in handlers.items():
            self._loops[service] = Restarted(lambda service=service, handler=handler: self._consumer(service, handler))  # type: ignore[misc]
        if self._open().has_outbox:
            self._loops[RELAY] = Restarted(self._relay)
        self._loops["fetcher"] = Restarted(self._fetcher)
        return self

    def __exit__(self, *_: object) -> None:
        for each in self._loops.values():
            each.stop()
        closeable: list[Outbox | Broker] = [*self.outboxes, *self.brokers]
        for part in closeable:
            part.close()
        gc.collect()  # the library leaves refused sockets open

    def state(self, service: str) -> str:
        return self._loops[service].loop.state

    def trouble(self, service: str) -> str:
        return self._loops[service].loop.trouble

    def wait_until_held(self, *services: str) -> None:
        for service in services:
            wait_until(lambda service=service: self.state(service) == "tripped", f"{service} is held back")  # type: ignore[misc]

    def wait_until_told(self, *numbers: int) -> None:
        """Wait until these events have reached the predictor and have notifications."""
        keys = {settled(number).event_key for number in numbers}
        wait_until(lambda: keys <= set(self.predicted), f"{keys} at the predictor; {self.states()}", poll_s=0.1)
        wait_until(lambda: keys <= self.notified(), f"notifications of {keys}; {self.states()}", poll_s=0.1)

    def states(self) -> dict[str, tuple[str, str]]:
        return {name: (each.loop.state, each.loop.trouble) for name, each in self._loops.items()}

    def notified(self) -> set[str]:
        with psycopg.connect(self._conninfo) as connection:
            return {key for (key,) in connection.execute("SELECT DISTINCT event_key FROM notifier.ledger")}

    def lost(self, service: str) -> float:
        """The value of headrace_records_lost_total."""
        return sum(
            sample.value
            for metric in self.metrics.registry.collect()
            for sample in metric.samples
            if sample.name == "headrace_records_lost_total" and sample.labels["service"] == service
        )

    def pause(self, service: str) -> None:
        self._order(service, "paused")
        wait_until(lambda: self.state(service) == "paused")

    def resume(self, service: str) -> None:
        self._order(service, "running")

    def _order(self, service: str, desired: DesiredState) -> None:
        self._seq += 1
        order = Order(READS[service], desired, self._seq)
        self._mailboxes[service].set_orders(Orders({order.topic: order}), float("inf"))

    def _predict(self, batch: Sequence[DecodedRecord]) -> list[NewRecord]:
        self.predicted.extend(each.message.event_key for each in batch)
        return []

    def _consumer(self, service: str, handler: Handler) -> ConsumerLoop:
        return ConsumerLoop(
            self._open(), service=service, slot="0", reads=[READS[service]], metrics=self.metrics, handler=handler,
            mailbox=self._mailboxes[service],
        )  # fmt: skip

    def _fetcher(self) -> PollerLoop:
        return PollerLoop(
            self._open(), service="fetcher", slot="0", cursors=FETCHER_CURSORS, source=self.source, metrics=self.metrics
        )

    def _relay(self) -> PollerLoop:
        self.outboxes.append(Outbox(self._conninfo, self.metrics))
        return PollerLoop(
            self._open(), service=RELAY, slot="0", cursors=OUTBOX_CURSORS, source=self.outboxes[-1],
            metrics=self.metrics,
        )  # fmt: skip

    def _open(self) -> Broker:
        self.brokers.append(self._open_broker())
        return self.brokers[-1]


def prepare(open_broker: OpenBroker) -> None:
    with closing(open_broker()) as broker:
        broker.ensure_topics(topic_specs(partitions=1))


def clean_records(*numbers: int) -> list[NewRecord]:
    """The card and the result of these events. Their ids depend on the content only."""
    facts: list[Any] = [fact(number) for number in numbers for fact in (listed, settled)]
    return [encode(fact, CLEAN, "clean-event/1", received(fact).event_id, "cleaner") for fact in facts]


def publish(open_broker: OpenBroker, *numbers: int) -> None:
    """Append the card and the result of these events to the clean events."""
    records = clean_records(*numbers)

    def is_written() -> bool:
        with closing(open_broker()) as broker:
            with closing(broker.producer("cleaner-0")) as producer, producer.unit() as unit:
                unit.append(records)
                unit.commit()
            settle(broker, "cleaner-0")
        return True

    wait_until(is_written, "the clean events", forgive=(TransientError, BrokerError))


def accept_losses(conninfo: str, *services: str) -> list[str]:
    """As `headrace resume --accept-loss SERVICE` does. Returns the kinds of the losses."""
    with psycopg.connect(conninfo) as connection:
        return [loss.kind for service in services for loss in accept(connection, service, None, "a person")]


@contextmanager
def running(open_broker: OpenBroker, conninfo: str) -> Iterator[Pipeline]:
    prepare(open_broker)
    with Pipeline(open_broker, conninfo) as pipeline:
        yield pipeline
