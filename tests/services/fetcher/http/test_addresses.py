"""Resolving names within a time limit."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from services.fetcher.http.addresses import MAX_ADDRESSES, Resolver
from shared.errors import TransientError
from tests.waiting import DEADLINE_S, wait_until


def lookup_threads() -> list[str]:
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("resolve ")]


class StuckLookup:
    """A name server that does not answer before `answer` is called."""

    def __init__(self) -> None:
        self.calls = 0
        self._answered = threading.Event()

    def __call__(self, host: str, port: int) -> list[str]:
        self.calls += 1
        assert self._answered.wait(DEADLINE_S)
        return ["192.0.2.1"]

    def answer(self) -> None:
        self._answered.set()


@pytest.fixture
def stuck() -> Iterator[StuckLookup]:
    lookup = StuckLookup()
    yield lookup
    lookup.answer()
    wait_until(lambda: not lookup_threads())


def test_the_system_resolves_an_address() -> None:
    assert Resolver().addresses("127.0.0.1", 80, DEADLINE_S) == ["127.0.0.1"]


def test_a_lookup_that_does_not_end_is_given_up(stuck: StuckLookup) -> None:
    with pytest.raises(TransientError, match=r"slow\.example was not resolved within 0\.1 s"):
        Resolver(stuck).addresses("slow.example", 80, 0.1)


def test_lookups_of_one_host_share_a_thread(stuck: StuckLookup) -> None:
    resolver = Resolver(stuck)

    for _ in range(20):
        with pytest.raises(TransientError):
            resolver.addresses("slow.example", 80, 0.001)

    assert (stuck.calls, lookup_threads()) == (1, ["resolve slow.example"])


def test_a_late_answer_serves_those_who_wait(stuck: StuckLookup) -> None:
    resolver = Resolver(stuck)
    with ThreadPoolExecutor(4) as pool:
        answers = [pool.submit(resolver.addresses, "slow.example", 80, DEADLINE_S) for _ in range(4)]
        wait_until(lambda: stuck.calls == 1)
        stuck.answer()

        assert [answer.result() for answer in answers] == [["192.0.2.1"]] * 4


def test_a_name_without_an_address_is_a_transient_error() -> None:
    def unknown(host: str, port: int) -> list[str]:
        raise socket.gaierror(-2, "Name or service not known")

    with pytest.raises(TransientError, match=r"cannot resolve nowhere\.example: .*not known"):
        Resolver(unknown).addresses("nowhere.example", 80, DEADLINE_S)


def test_an_error_is_not_remembered() -> None:
    errors = [OSError("no")]

    def lookup(host: str, port: int) -> list[str]:
        if errors:
            raise errors.pop()
        return ["192.0.2.1"]

    resolver = Resolver(lookup)
    with pytest.raises(TransientError):
        resolver.addresses("a.example", 80, DEADLINE_S)

    assert resolver.addresses("a.example", 80, DEADLINE_S) == ["192.0.2.1"]


def test_the_number_of_addresses_is_bounded() -> None:
    resolver = Resolver(lambda host, port: [f"192.0.2.{number}" for number in range(200)] * 2)

    assert len(resolver.addresses("many.example", 80, DEADLINE_S)) == MAX_ADDRESSES
