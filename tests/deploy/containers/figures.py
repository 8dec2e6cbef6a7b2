"""Collects what the tests measure, and prints it at the end of the run."""

from __future__ import annotations

import os
from collections import defaultdict


class Figures:
    """Sizes and times as lines, and the highest memory seen for each container and moment."""

    def __init__(self) -> None:
        self._lines: list[str] = []
        self._memory: dict[str, dict[str, dict[str, float]]] = defaultdict(lambda: defaultdict(dict))

    def add(self, text: str) -> None:
        self._lines.append(text)

    def memory(self, project: str, container: str, moment: str, mib: float) -> None:
        seen = self._memory[project][container]
        seen[moment] = max(seen.get(moment, 0.0), mib)

    def lines(self) -> list[str]:
        """Empty if nothing was measured."""
        lines = list(self._lines)
        for project, containers in self._memory.items():
            moments = list(dict.fromkeys(moment for seen in containers.values() for moment in seen))
            lines.append(f"{project}, MiB of memory:")
            lines.append(f"{'':<14}{''.join(f'{moment:>10}' for moment in moments)}")
            for name, seen in sorted(containers.items()):
                values = "".join(f"{seen[each]:>10.0f}" if each in seen else f"{'':>10}" for each in moments)
                lines.append(f"{name:<14}{values}")
        return [f"measured on {machine()}", *lines] if lines else []


def machine() -> str:
    pages = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return f"{os.cpu_count()} cores and {pages / 2**30:.0f} GiB of memory"
