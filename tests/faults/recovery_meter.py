"""Waits for the recovery from a fault, and measures it."""

from __future__ import annotations

import time
from collections.abc import Callable

from shared.topics import SERVICES
from tests.faults.recovery import Recoveries, Recovery, Sample, has_recovered
from tests.faults.schedule import Fault
from tests.faults.world import World

# How long the recovery of a stage is awaited; far above the limit that makes a run fail.
RECOVERY_LIMIT_S = 120.0


class RecoveryMeter:
    """Adds what it measures to `recoveries`."""

    def __init__(self, world: World, recoveries: Recoveries, log: Callable[[str], None]) -> None:
        self._world = world
        self._recoveries = recoveries
        self._log = log

    def await_recovery(
        self, fault: Fault, kind: str | None = None, before: Sample | None = None, began_s: float | None = None
    ) -> None:
        """Measure the recovery of the affected stages, from now on or from `began_s` (monotonic). `before`: the
        positions from which progress counts; by default those of now."""
        began_s = time.monotonic() if began_s is None else began_s
        before = self._world.sample() if before is None else before
        self._world.supply.resume()
        stages_hit = [fault.service] if fault.service else list(SERVICES)
        recovered_s: dict[str, float] = {}
        while len(recovered_s) < len(stages_hit) and time.monotonic() - began_s < RECOVERY_LIMIT_S:
            self._world.tick()
            now: Sample | None = self._world.observer.sample()
            if now is not None:
                elapsed_s = time.monotonic() - began_s
                missing = [each for each in stages_hit if each not in recovered_s]
                recovered_s |= {each: elapsed_s for each in missing if has_recovered(each, before, now)}
        seconds = max(recovered_s.values()) if len(recovered_s) == len(stages_hit) else None
        self._recoveries.measured.append(Recovery(kind or str(fault.kind), str(fault), seconds))
        stages = ", ".join(
            f"{each} {recovered_s[each]:.2f} s" if each in recovered_s else f"{each} NOT" for each in stages_hit
        )
        self._log(f"{fault}: recovered after: {stages}")
