"""A relay in a process of its own, to be killed: python -m tests.shared.runtime.relaying FILE SLOT WHERE

WHERE names the point where it stops itself, once: `inside` a transaction, whose records are sent and not decided on;
`after` one, before what it carried is thrown away; or `nowhere`.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path

from shared.broker.contract import Producer
from shared.broker.kafka.broker import KafkaBroker
from shared.broker.kafka.producer import KafkaProducer
from shared.broker.kafka.unit import KafkaUnit
from shared.errors import BrokerError
from shared.runtime.loops.handler import SourceStep
from shared.runtime.loops.outbox import RELAY, Outbox
from shared.runtime.loops.poller import PollerLoop
from shared.runtime.metrics import Metrics
from shared.settings.sections import KafkaSettings
from shared.topics import OUTBOX_CURSORS


def say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def stop_here() -> None:
    say("stopped")
    os.kill(os.getpid(), signal.SIGSTOP)


class UndecidedUnit(KafkaUnit):
    def _finish(self) -> None:
        stop_here()
        try:
            super()._finish()
        except BrokerError as error:
            say(type(error).__name__)
            raise


class UndecidedProducer(KafkaProducer):
    def unit(self) -> KafkaUnit:
        return UndecidedUnit(self._client, self._topics, self.close)


class UndecidedBroker(KafkaBroker):
    def producer(self, slot: str, *, in_database: bool = False) -> Producer:
        return UndecidedProducer(self._settings(slot), self._topics, self._qualified_name(slot))


class ForgetfulOutbox(Outbox):
    def next(self, timeout_s: float) -> SourceStep | None:
        if self._in_flight:
            stop_here()
        return super().next(timeout_s)


def main(file: Path, slot: str, where: str) -> None:
    told = json.loads(file.read_text())
    broker_class = UndecidedBroker if where == "inside" else KafkaBroker
    outbox_class = ForgetfulOutbox if where == "after" else Outbox
    broker = broker_class(told["url"], KafkaSettings(**told["kafka"]), told["conninfo"])
    source = outbox_class(told["conninfo"])
    loop = PollerLoop(broker, service=RELAY, slot=slot, cursors=OUTBOX_CURSORS, source=source, metrics=Metrics())
    say("started")
    loop.run()


if __name__ == "__main__":
    main(Path(sys.argv[1]), *sys.argv[2:])
