"""A relay as a process, for tests to kill: python -m tests.shared.runtime.relay_process CONFIG_FILE SLOT WHERE

WHERE is the point where it stops itself once: `inside` a transaction, after its records are sent and before its commit;
`after` a commit, before the relayed records are deleted; or `nowhere`.
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


class StoppingUnit(KafkaUnit):
    def _finish(self) -> None:
        stop_here()
        try:
            super()._finish()
        except BrokerError as error:
            say(type(error).__name__)
            raise


class StoppingProducer(KafkaProducer):
    def unit(self) -> KafkaUnit:
        return StoppingUnit(self._client, self._topics, self.close)


class StoppingBroker(KafkaBroker):
    def producer(self, slot: str, *, in_database: bool = False) -> Producer:
        return StoppingProducer(self._settings(slot), self._topics, self._qualified_name(slot))


class StoppingOutbox(Outbox):
    def next(self, timeout_s: float) -> SourceStep | None:
        if self._in_flight:
            stop_here()
        return super().next(timeout_s)


def main(config_file: Path, slot: str, where: str) -> None:
    config = json.loads(config_file.read_text())
    broker_class = StoppingBroker if where == "inside" else KafkaBroker
    outbox_class = StoppingOutbox if where == "after" else Outbox
    broker = broker_class(config["url"], KafkaSettings(**config["kafka"]), config["conninfo"])
    source = outbox_class(config["conninfo"], Metrics())
    loop = PollerLoop(broker, service=RELAY, slot=slot, cursors=OUTBOX_CURSORS, source=source, metrics=Metrics())
    say("started")
    loop.run()


if __name__ == "__main__":
    main(Path(sys.argv[1]), *sys.argv[2:])
