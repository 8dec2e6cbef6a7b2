"""Made-up days, and the loader and notifier that follow them."""

from __future__ import annotations

from collections import defaultdict
from datetime import datetime, timedelta
from random import Random
from typing import Any
from uuid import UUID

import psycopg

from services.loader.load import Loader
from services.notifier.notify import Notifier
from services.notifier.pacing import DeliveryPolicy
from services.notifier.rules.rule_book import RuleBook
from services.notifier.summaries.postgres_summaries import SummaryComposer
from shared.broker.contract import Record
from shared.broker.postgres.broker import PostgresBroker
from shared.events import HeadProbability, Listed, Prediction, SessionInfo, Settled
from shared.records import DecodedRecord, decode, encode
from shared.runtime.metrics import Metrics
from shared.topics import PREDICTIONS
from tests.services.loader.facts import DAY, SOURCE, StillClock, key, listed, outcomes, paid, received, settled
from tests.services.notifier.books import book_of
from tests.services.notifier.sending import open_connection

Connection = psycopg.Connection[Any]
Fact = Listed | Settled | Prediction
TOMORROW = DAY + timedelta(days=1)
VENUES, NUMBERS = (7, 8), (1, 2, 11, 12)


def rich_book() -> RuleBook:
    channels = {"races": {"kind": "discord-bot", "channel": "111111111111111111"}, "console": {"kind": "console"}}
    return book_of(
        channels,
        tip={"finding": "tip", "threshold": 0.5, "to": ("races", "console")},
        cards={
            "finding": "tip",
            "threshold": 0.6,
            "states": ("card",),
            "venues": (8,),
            "template": "{{ entry }} {{ state }}",
        },
        grade={"finding": "grade", "threshold": 3},
        payouts={"finding": "big-payout", "threshold": 1_000, "markets": ("trifecta", "exacta"), "to": ("races",)},
        surprise={"finding": "surprise", "threshold": 0.3},
        off={"finding": "called-off", "threshold": 2},
        off_first={"finding": "called-off", "template": "{{ numbers|join('+') }} of {{ events }}"},
        daily={"finding": "daily"},
        exacta={"finding": "daily", "markets": ("exacta",)},
    )


def made_up_days(seed: int) -> dict[datetime, list[Fact]]:
    """The facts and predictions of two days by the time from which they are known: cards, predictions of two states of
    knowledge, results, corrections, cancelled events and an event without a result."""
    random = Random(seed)
    facts: dict[datetime, list[Fact]] = defaultdict(list)

    def add(fact: Fact) -> None:
        known_at = fact.as_of if isinstance(fact, Prediction) else fact.known_at
        assert known_at is not None
        facts[known_at].append(fact)

    for day in (DAY, TOMORROW):
        for venue in VENUES:
            grade = random.choice([1, 3, None])
            last_number = (
                NUMBERS[-1] if random.random() < 0.7 else 2
            )  # from there on, the rest of the session is called off
            for number in NUMBERS:
                session = SessionInfo(
                    session_key=key(number, day, venue)[:-3], date=day, venue=venue, title="Cup", grade=grade
                )
                card = listed(number, day=day, venue=venue, session=session)
                assert card.scheduled_at is not None
                start_minutes = 30 * (number - 1)
                add(card)
                for state, known in (("card", start_minutes - 60), ("observation", start_minutes - 8)):
                    add(_prediction(random, card, state, card.scheduled_at + timedelta(minutes=known - start_minutes)))
                if number > last_number:
                    add(
                        settled(
                            number,
                            day=day,
                            venue=venue,
                            known=start_minutes - 3 if random.random() < 0.5 else 60,
                            status="cancelled",
                            outcomes=(),
                            transactions=(),
                        )
                    )
                    continue
                for version in range(random.choice([1, 1, 1, 2, 3])):
                    add(_result(random, number, day, venue, start_minutes + 15 + 7 * version))
    return dict(sorted(facts.items()))


def _result(random: Random, number: int, day: Any, venue: int, known: float) -> Settled:
    places = random.sample([1, 2, 3, 4], 4)
    order = [places.index(place) + 1 for place in (1, 2, 3)]
    transactions = paid(
        trifecta={"-".join(map(str, order)): random.choice([900, 1_500, 70_000])},
        exacta={f"{order[0]}-{order[1]}": random.choice([300, 1_200])},
    )
    status = "provisional" if random.random() < 0.1 else "settled"
    return settled(
        number, day=day, venue=venue, known=known, status=status, outcomes=outcomes(*places), transactions=transactions
    )


def _prediction(random: Random, card: Listed, state: str, as_of: datetime) -> Prediction:
    weights = [random.random() ** 4 for _ in range(4)]
    probabilities = tuple(
        HeadProbability(head="result", slot=slot, label="win", probability=weight / sum(weights))
        for slot, weight in enumerate(weights, start=1)
    )
    values = {
        "source": SOURCE,
        "event_key": card.event_key,
        "as_of": as_of,
        "scheduled_at": card.scheduled_at,
        "state": state,
    }
    return Prediction.model_validate(
        values
        | {
            "model_version": "m1",
            "feature_hash": "f",
            "inputs": (),
            "probabilities": probabilities,
            "shadow": random.random() < 0.1,
        }
    )


def _prediction_record(prediction: Prediction, number: int) -> DecodedRecord:
    encoded = encode(prediction, PREDICTIONS, "prediction/1", UUID(int=number), "predictor")
    return decode(Record(PREDICTIONS, 0, 0, 0, encoded.key, encoded.value, encoded.headers))


def follow(connection: Connection, broker: PostgresBroker, facts: dict[datetime, list[Fact]], book: RuleBook) -> None:
    """Loader, notifier and composer handle the facts of each time, at this time."""
    clock = StillClock()
    loader, notifier = Loader(clock, Metrics()), Notifier(["console"], clock, lambda: book)
    composer = SummaryComposer(open_connection, lambda: broker, lambda: book, DeliveryPolicy(), max_wait_s=60)
    count = 0
    for at, batch in facts.items():
        clock.at = at
        predictions = []
        for fact in batch:
            if isinstance(fact, Prediction):
                count += 1
                predictions.append(_prediction_record(fact, count))
        with connection.transaction():
            others = [received(fact) for fact in batch if not isinstance(fact, Prediction)]
            outputs = loader.handle([*others, *predictions], connection)
        loaded = [decode(Record(each.topic, 0, 0, 0, each.key, each.value, each.headers)) for each in outputs]
        with connection.transaction():
            notifier.handle([*predictions, *loaded], connection)
        while composer.step(connection, broker) == 0.0:
            pass
