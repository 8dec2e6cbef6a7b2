"""A pytest plugin: prints at the end how long each folder of tests took, and which files used the most CPU.

Both are sums over all workers. The CPU time includes processes that a test started and waited for.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Generator
from pathlib import PurePath

import pytest

# Folders whose subfolders are listed separately.
_DIVIDED = {"services", "shared"}
_FILES_SHOWN = 20
_CPU = "cpu_s"


class _Times:
    """Adds up the durations of each folder and the CPU time of each file."""

    def __init__(self) -> None:
        self._ms_by_folder: Counter[str] = Counter()
        self._cpu_ms_by_folder: Counter[str] = Counter()
        self._cpu_ms_by_file: Counter[str] = Counter()

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_protocol(self, item: pytest.Item) -> Generator[None, object, object]:
        item.stash[_START] = _cpu_s()
        return (yield)

    @pytest.hookimpl(wrapper=True, tryfirst=True)
    def pytest_runtest_teardown(self, item: pytest.Item) -> Generator[None, object, object]:
        result = yield
        item.user_properties.append((_CPU, _cpu_s() - item.stash[_START]))
        return result

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        file = report.nodeid.partition("::")[0]
        folders = PurePath(file).parts[1:-1]
        name = "/".join(folders[: 2 if folders and folders[0] in _DIVIDED else 1]) or "."
        self._ms_by_folder[name] += round(report.duration * 1000)
        if report.when == "teardown":
            cpu_ms = sum(round(float(str(value)) * 1000) for key, value in report.user_properties if key == _CPU)
            self._cpu_ms_by_folder[name] += cpu_ms
            self._cpu_ms_by_file[file] += cpu_ms

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        if len(self._ms_by_folder) > 1:
            terminalreporter.section("seconds and CPU seconds by folder")
            for name, total_ms in self._ms_by_folder.most_common():
                terminalreporter.line(f"{total_ms / 1000:8.0f} {self._cpu_ms_by_folder[name] / 1000:8.0f}  {name}")
            terminalreporter.section("CPU seconds of the most expensive files")
            for file, cpu_ms in self._cpu_ms_by_file.most_common(_FILES_SHOWN):
                terminalreporter.line(f"{cpu_ms / 1000:8.0f}  {file}")


_START = pytest.StashKey[float]()


def _cpu_s() -> float:
    times = os.times()
    return times.user + times.system + times.children_user + times.children_system


def pytest_configure(config: pytest.Config) -> None:
    config.pluginmanager.register(_Times())
