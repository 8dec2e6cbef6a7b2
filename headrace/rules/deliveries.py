"""Derives when notifications would have been sent to each address: quiet hours, expiry, pace and digests.

Times are those of the events, as if sending took no time. The rate limits of channels are left out; the pace of the
rule file is applied as the sender does (services/notifier/delivery/channel_loop.py).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from heapq import heappop, heappush
from typing import Literal, NamedTuple

from headrace.rules.rehearsal import RehearsedNotification
from services.notifier.delivery.digest import count_fitting
from services.notifier.disposition import Drop, HoldUntil, SendNow
from services.notifier.pacing import TokenBucket
from services.notifier.rules.rule_book import RuleBook
from services.notifier.texts.message import MAX_LENGTH

# A bucket computes in floating point: at the computed time, its token may be a little short.
ROUNDING = timedelta(microseconds=10)


class Delivery(NamedTuple):
    """What happens to a notification at one address, and when. Those with the same `digest` are one message."""

    at: datetime
    address: str
    outcome: Literal["sent", "expired"]
    notification: RehearsedNotification
    reason: str | None = None
    digest: int | None = None


def deliveries_of(
    notifications: Sequence[RehearsedNotification], book: RuleBook, channels: Sequence[str]
) -> list[Delivery]:
    """The deliveries in the order of time. `channels`: the addresses of rules that name none."""
    by_address: dict[str, list[RehearsedNotification]] = defaultdict(list)
    for notification in notifications:
        for address in book.addresses(notification.rule, channels):
            by_address[address].append(notification)
    deliveries = [
        delivery for address, items in by_address.items() for delivery in _Address(address, items, book).deliveries()
    ]
    deliveries.sort(key=lambda each: (each.at, each.address, each.notification.recorded_at))
    return _with_digest_numbers(deliveries)


class _Address:
    """The queue of one address."""

    def __init__(self, address: str, notifications: Sequence[RehearsedNotification], book: RuleBook) -> None:
        self._address = address
        self._notifications = notifications
        self._book = book
        self._queue: list[tuple[datetime, int]] = []
        for index, each in enumerate(notifications):
            heappush(self._queue, (each.recorded_at, index))
        self._epoch = min(each.recorded_at for each in notifications)
        rate = book.pace(address)
        self._bucket = None if rate is None else TokenBucket(rate, 0.0)
        self._digests = 0

    def deliveries(self) -> Iterator[Delivery]:
        now = self._epoch
        while self._queue:
            due_at, index = heappop(self._queue)
            now = max(now, due_at) + self._wait(max(now, due_at))
            dropped, is_admitted = self._admit(index, now)
            yield from dropped
            if not is_admitted:
                continue
            joined = [index]
            if self._take_last_token(now):
                dropped, joined = self._join(index, now)
                yield from dropped
            self._digests += len(joined) > 1
            number = self._digests if len(joined) > 1 else None
            for each in joined:
                yield Delivery(now, self._address, "sent", self._notifications[each], digest=number)

    def _admit(self, index: int, now: datetime) -> tuple[list[Delivery], bool]:
        """Whether the notification may be sent now; otherwise it waits again, or is dropped."""
        notification = self._notifications[index]
        match self._book.disposition(notification.rule, self._address, notification.recorded_at, now, {}):
            case SendNow():
                return [], True
            case HoldUntil(at):
                heappush(self._queue, (at, index))
                return [], False
            case Drop(reason):
                return [Delivery(now, self._address, "expired", notification, reason)], False

    def _join(self, first: int, now: datetime) -> tuple[list[Delivery], list[int]]:
        """What waits for the address, as one digest with the first, as far as it fits into a message."""
        dropped: list[Delivery] = []
        joined = [first]
        while self._queue and self._queue[0][0] <= now:
            index = heappop(self._queue)[1]
            drops, is_admitted = self._admit(index, now)
            dropped += drops
            if is_admitted:
                joined.append(index)
        count = count_fitting([self._notifications[each].text for each in joined], MAX_LENGTH)
        for index in joined[count:]:
            heappush(self._queue, (now, index))
        return dropped, joined[:count]

    def _wait(self, now: datetime) -> timedelta:
        wait_s = 0.0 if self._bucket is None else self._bucket.wait_s((now - self._epoch).total_seconds())
        return timedelta(seconds=wait_s) + ROUNDING if wait_s > 0 else timedelta()

    def _take_last_token(self, now: datetime) -> bool:
        """Take a token; whether it was the last one. False without a pace."""
        if self._bucket is None:
            return False
        now_s = (now - self._epoch).total_seconds()
        self._bucket.take(now_s)
        return self._bucket.wait_s(now_s) > 0


def _with_digest_numbers(deliveries: Sequence[Delivery]) -> list[Delivery]:
    """Number the digests of all addresses from 1, in the order of time."""
    numbers: dict[tuple[str, int], int] = {}
    return [
        each
        if each.digest is None
        else each._replace(digest=numbers.setdefault((each.address, each.digest), len(numbers) + 1))
        for each in deliveries
    ]
