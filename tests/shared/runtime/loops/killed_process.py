"""A process whose handler kills it at certain records: URL, way to die, numbers of the records."""

from __future__ import annotations

import faulthandler
import os
import signal
import sys
from collections.abc import Sequence
from contextlib import closing
from uuid import uuid4

from shared.broker.contract import NewRecord
from shared.records import DecodedRecord
from shared.runtime.control.attempts import AttemptNotes
from shared.runtime.loops.handler import InUnit
from tests.shared.runtime.loop_harness import number_of, open_broker
from tests.shared.runtime.loops.consumer_loops import copy, loop_of

SIGNALS = {"crash": signal.SIGSEGV, "out of memory": signal.SIGKILL}


def die(death: str) -> None:
    if death == "exit":
        os._exit(1)
    os.kill(os.getpid(), SIGNALS[death])


def main(url: str, death: str, *bad: str) -> None:
    numbers = set(map(int, bad))

    def handle(batch: Sequence[DecodedRecord]) -> list[NewRecord]:
        if any(number_of(each) in numbers for each in batch):
            die(death)
        return copy(batch)

    faulthandler.disable()
    with closing(open_broker(url)) as broker:
        loop = loop_of(
            broker, handler=InUnit(handle), max_records=100, notes=AttemptNotes(url, "cleaner", uuid4(), answer_s=60)
        )
        signal.signal(signal.SIGTERM, lambda *_: loop.stop())
        sys.stdout.write("started\n")
        sys.stdout.flush()
        loop.run()


if __name__ == "__main__":
    main(*sys.argv[1:])
