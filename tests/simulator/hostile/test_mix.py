"""Which requests a hostile simulator attacks."""

from __future__ import annotations

from collections import Counter

import pytest

from simulator.hostile.attacks import ATTACKS
from simulator.hostile.mix import AttackMix, attacks_of

PATHS = [f"/cards/{day}.json" for day in range(200)]


def mix(rate: float, seed: int = 3, names: tuple[str, ...] | None = None) -> AttackMix:
    return AttackMix(rate, seed, attacks_of(names, ()), elapsed_s=lambda: 0.0)


def names_by_path(attacks: AttackMix, paths: list[str]) -> list[tuple[str, str | None]]:
    selected = [(path, attacks.attack_on_request(path)) for path in paths]
    return [(path, each and each.attack.name) for path, each in selected]


def test_the_rate_holds_and_every_attack_occurs() -> None:
    attacks = mix(0.3)
    rounds = 60

    for _ in range(rounds):
        for path in PATHS:
            attacks.attack_on_connection()
            attacks.attack_on_request(path)

    share = attacks.performed.total() / (rounds * len(PATHS))
    assert 0.28 < share < 0.32
    assert set(attacks.performed) == set(ATTACKS)


def test_a_seed_determines_the_answers_to_a_path_whatever_comes_in_between() -> None:
    in_order, mixed, other = mix(0.5), mix(0.5), mix(0.5, seed=4)

    first = names_by_path(in_order, PATHS + PATHS)
    second = names_by_path(mixed, [path for path in reversed(PATHS) for _ in range(2)])

    assert Counter(first) == Counter(second)
    assert first != names_by_path(other, PATHS + PATHS)


def test_only_the_chosen_attacks_are_performed() -> None:
    attacks = mix(1.0, names=("gzip-bomb", "reset"))
    others = AttackMix(1.0, 3, attacks_of(None, ("reset",)), elapsed_s=lambda: 0.0)

    assert {name for _, name in names_by_path(attacks, PATHS)} == {"gzip-bomb", "reset"}
    assert attacks.attack_on_connection() is None
    assert "reset" not in {name for _, name in names_by_path(others, PATHS * 20)}


def test_only_the_documents_of_chosen_feeds_are_attacked() -> None:
    attacks = AttackMix(1.0, 3, attacks_of(None, ()), feeds=("cards",), elapsed_s=lambda: 0.0)

    assert all(attacks.attack_on_request(path) for path in PATHS)
    assert not any(attacks.attack_on_request(path.replace("/cards/", "/ends/")) for path in PATHS)
    assert not any(attacks.attack_on_connection() for _ in range(1000))


def test_the_attacks_end_after_their_time() -> None:
    now_s = [100.0]
    attacks = AttackMix(1.0, 3, attacks_of(None, ()), duration_s=60.0, elapsed_s=lambda: now_s[0])
    performed = []

    for at_s in (500.0, 559.0, 560.0, 9000.0):
        now_s[0] = at_s
        performed.append(any(attacks.attack_on_request(path) for path in PATHS))

    assert performed == [True, True, False, False]


@pytest.mark.parametrize("rate", [0.0, -0.1, 1.1])
def test_a_rate_that_is_no_share_is_refused(rate: float) -> None:
    with pytest.raises(ValueError, match="share"):
        mix(rate)


def test_an_unknown_attack_is_refused() -> None:
    with pytest.raises(ValueError, match="gzip-bom'"):
        attacks_of(("gzip-bom",), ())
    with pytest.raises(ValueError, match="tickle"):
        attacks_of(None, ("tickle",))
    with pytest.raises(ValueError, match="at least one"):
        AttackMix(0.5, 1, attacks_of(("reset",), ("reset",)), elapsed_s=lambda: 0.0)
