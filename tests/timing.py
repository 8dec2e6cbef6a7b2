"""A pytest plugin: prints at the end how long each folder of tests took, as the sum over all workers."""

from __future__ import annotations

from collections import Counter
from pathlib import PurePath

import pytest

# Folders whose subfolders are listed separately.
_DIVIDED = {"services", "shared"}


class _FolderTimes:
    """Adds up the durations of each folder."""

    def __init__(self) -> None:
        self._ms_by_folder: Counter[str] = Counter()

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        folders = PurePath(report.nodeid.partition("::")[0]).parts[1:-1]
        name = "/".join(folders[: 2 if folders and folders[0] in _DIVIDED else 1])
        self._ms_by_folder[name or "."] += round(report.duration * 1000)

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        if len(self._ms_by_folder) > 1:
            terminalreporter.section("seconds by folder")
            for name, total_ms in self._ms_by_folder.most_common():
                terminalreporter.line(f"{total_ms / 1000:8.0f}  {name}")


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.register(_FolderTimes())
