"""Selects which requests are attacked, and how, by a seed.

The n-th request for a path is answered the same way in each run with the same seed, whatever other requests come in
between.
"""

from __future__ import annotations

import zlib
from collections import Counter
from collections.abc import Callable, Collection
from typing import NamedTuple

from simulator.draws import Draw, stream
from simulator.hostile.attacks import ATTACKS
from simulator.hostile.script import Attack


class SelectedAttack(NamedTuple):
    """An attack, and the draw of what varies in it, from 0 to below 1."""

    attack: Attack
    draw: float


class AttackMix:
    """A share `rate` of the requests is attacked, each time by one of `attacks`, equally often. Not thread-safe.

    Attacks that run before the request is read belong to connections, the others to requests. With `duration_s`, no
    request is attacked later than that after the first one, by the clock `elapsed_s`. With `feeds`, only requests for
    documents of these feeds are attacked, and no connections.
    """

    def __init__(
        self,
        rate: float,
        seed: int,
        attacks: Collection[Attack],
        *,
        duration_s: float | None = None,
        feeds: Collection[str] | None = None,
        elapsed_s: Callable[[], float],
    ) -> None:
        """Raises ValueError if the rate is not a share or there is no attack."""
        if not 0.0 < rate <= 1.0:
            raise ValueError(f"expected a share of hostile responses above 0 and at most 1, got {rate:g}")
        if not attacks:
            raise ValueError("expected at least one attack")
        self._rate = rate
        self._seed = seed
        self._attacks = {early: [a for a in attacks if a.before_request is early] for early in (True, False)}
        self._duration_s = duration_s
        self._feeds = feeds
        self._elapsed_s = elapsed_s
        self._began_s: float | None = None
        self._counts: Counter[str] = Counter()
        self.performed: Counter[str] = Counter()

    def attack_on_connection(self) -> SelectedAttack | None:
        """The attack on the next connection, before its first request is read."""
        return self._attack("", self._attacks[True]) if self._feeds is None else None

    def attack_on_request(self, path: str) -> SelectedAttack | None:
        """The attack on the next request for this path."""
        is_chosen = self._feeds is None or path.split("/")[1:2] in [[feed] for feed in self._feeds]
        return self._attack(path, self._attacks[False]) if is_chosen else None

    def _attack(self, path: str, attacks: list[Attack]) -> SelectedAttack | None:
        if self._is_over():
            return None
        self._counts[path] += 1
        total = len(attacks) if self._feeds else sum(len(each) for each in self._attacks.values())
        random = stream(self._seed, Draw.ATTACKS, zlib.crc32(path.encode()), self._counts[path])
        if random.random() >= self._rate * len(attacks) / total:
            return None
        attack = attacks[int(random.integers(len(attacks)))]
        self.performed[attack.name] += 1
        return SelectedAttack(attack, float(random.random()))

    def _is_over(self) -> bool:
        if self._duration_s is None:
            return False
        now_s = self._elapsed_s()
        if self._began_s is None:
            self._began_s = now_s
        return now_s - self._began_s >= self._duration_s


def attacks_of(names: Collection[str] | None, excluded: Collection[str]) -> list[Attack]:
    """The named attacks, all if `names` is None, without the excluded ones. Raises ValueError for an unknown name."""
    for name in (*(names or ()), *excluded):
        if name not in ATTACKS:
            raise ValueError(f"there is no attack {name!r}: --list-attacks prints them")
    return [attack for name, attack in ATTACKS.items() if (names is None or name in names) and name not in excluded]
