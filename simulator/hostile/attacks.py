"""The registry of all attacks by name."""

from __future__ import annotations

from simulator.hostile import bodies, encodings, responses, transport
from simulator.hostile.script import Attack

ATTACKS: dict[str, Attack] = {
    attack.name: attack for attack in (*transport.ATTACKS, *encodings.ATTACKS, *responses.ATTACKS, *bodies.ATTACKS)
}
