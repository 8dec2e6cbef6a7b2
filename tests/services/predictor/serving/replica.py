"""A replica of the predictor with synthetic facts, as a process that tests kill:
python -m tests.services.predictor.serving.replica BROKER_FILE"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID

from services.predictor.data.events import EntryFacts, EventFacts, events_of
from services.predictor.serving.deduplication import TopicTail
from services.predictor.serving.predict import Predictor, PredictorDependencies
from services.predictor.storage.interface import Changes, Position, StoredDecision
from shared.runtime.loops.consumer import ConsumerLoop
from shared.runtime.loops.handler import InThread
from shared.runtime.metrics import Metrics
from shared.topics import LOADED
from tests.contract.child import open_broker_of, print_line
from tests.services.predictor.serving.small_serving_model import PROFILES, InMemoryRegistry, SetClock, model_of

SOURCE, SERVICE = "made-up", "predictor"
STARTS = datetime(2031, 5, 4, 3, tzinfo=UTC)
LISTED = STARTS - timedelta(hours=3)


def event(number: int, *, settled: bool = False) -> EventFacts:
    entries = [
        EntryFacts(
            slot,
            f"{SOURCE}:{10 * slot + number % 3}",
            {"rating": slot + number / 10},
            {},
            None,
            {"lap_s": 6.7 + slot / 100},
            place=slot if settled else None,
        )
        for slot in range(1, 7)
    ]
    listed_us = LISTED.timestamp() * 1e6
    return EventFacts(
        f"{SOURCE}:2031-05-04:01:{number:02d}",
        f"{SOURCE}:2031-05-04:01",
        22403,
        1,
        number,
        "settled" if settled else "listed",
        entries,
        scheduled_us=STARTS.timestamp() * 1e6,
        listed_us=listed_us,
        settled_us=listed_us - 1e9 if settled else None,
    )


class MadeUpFacts:
    """Ten upcoming events and no stored predictions, as if the loader did not run."""

    def settled(self) -> list[EventFacts]:
        return []

    def changes(self, after: Position | None) -> Changes:
        return Changes((), after or Position("3"))

    def events(self, event_keys: Sequence[str]) -> list[EventFacts]:
        return [facts for facts in map(event, range(1, 11)) if facts.event_key in event_keys]

    def decisions(self, session_keys: Sequence[str]) -> list[StoredDecision]:
        return []

    def loaded(self, predictions: Sequence[UUID]) -> frozenset[UUID]:
        return frozenset()


def main(broker_file: str) -> None:
    model = model_of(events_of([event(number, settled=True) for number in range(1, 11)], 6))
    broker = open_broker_of(Path(broker_file))
    parts = PredictorDependencies(tail=TopicTail(open_broker_of(Path(broker_file))), profiles=PROFILES)
    predictor = Predictor(MadeUpFacts(), InMemoryRegistry(model), SetClock(LISTED + timedelta(minutes=1)), parts)
    loop = ConsumerLoop(
        broker, service=SERVICE, slot="0", reads=[LOADED], metrics=Metrics(), handler=InThread(predictor.handle)
    )
    print_line("started")
    loop.run()


if __name__ == "__main__":
    main(*sys.argv[1:])
