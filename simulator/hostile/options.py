"""The options of a hostile simulator."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable

from simulator.hostile.attacks import ATTACKS
from simulator.hostile.mix import AttackMix, attacks_of


class ListAttacks(argparse.Action):
    """Prints the attacks and exits."""

    def __call__(self, parser: argparse.ArgumentParser, *_ignored: object) -> None:
        for attack in ATTACKS.values():
            note = " (a valid document with wrong content)" if attack.is_plausible else ""
            sys.stdout.write(f"{attack.name:30} {attack.description}{note}\n")
        parser.exit()


def add_hostile_options(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("a hostile source")
    group.add_argument(
        "--hostile", type=float, metavar="RATE", help="share of the requests that are attacked, above 0, at most 1"
    )
    group.add_argument("--attacks", type=_names, metavar="A,B", help="only these attacks (default: all)")
    group.add_argument("--without-attacks", type=_names, default=(), metavar="A,B", help="not these attacks")
    group.add_argument(
        "--hostile-for", type=float, metavar="S", help="attack for S seconds from the first request, then behave"
    )
    group.add_argument(
        "--hostile-feeds", type=_names, metavar="A,B", help="attack only the documents of these feeds (default: all)"
    )
    group.add_argument("--list-attacks", action=ListAttacks, nargs=0, help="print the attacks and exit")


def mix_of(options: argparse.Namespace, elapsed_s: Callable[[], float]) -> AttackMix | None:
    """None without --hostile. Raises ValueError for a wrong rate or an unknown attack."""
    if options.hostile is None:
        if options.attacks or options.without_attacks or options.hostile_feeds or options.hostile_for is not None:
            raise ValueError("the options of a hostile source need --hostile RATE")
        return None
    attacks = attacks_of(options.attacks, options.without_attacks)
    return AttackMix(
        options.hostile,
        options.seed,
        attacks,
        duration_s=options.hostile_for,
        feeds=options.hostile_feeds,
        elapsed_s=elapsed_s,
    )


def _names(text: str) -> tuple[str, ...]:
    return tuple(name for name in text.split(",") if name)
