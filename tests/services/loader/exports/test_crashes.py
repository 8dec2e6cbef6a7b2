"""A process that ends at any step leaves a manifest whose files exist, and a successor completes the day."""

from __future__ import annotations

import multiprocessing
import os
import signal
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest

from services.loader.exports.manifest import Format
from services.loader.exports.target import ExportError, FolderTarget, Target
from tests.services.loader.exports.conftest import Export, MakeExport, Store
from tests.services.loader.facts import listed, settled
from tests.waiting import wait_until

BOTH: tuple[Format, ...] = ("csv", "parquet")
# A publication of seven tables in two formats: pending, 14 files, 7 copies, the manifest.
CHANGES = 23


class FailingTarget:
    """A target of which the n-th change, counted from 0, fails before or after it has been made."""

    def __init__(self, target: Target, change: int, fail: Callable[[], None], *, after: bool = False) -> None:
        self._target = target
        self._remaining = change
        self._fail = fail
        self._after = after

    def store(self, file: Path, name: str) -> None:
        self._change(lambda: self._target.store(file, name))

    def write(self, content: bytes, name: str) -> None:
        self._change(lambda: self._target.write(content, name))

    def copy(self, source: str, name: str) -> None:
        self._change(lambda: self._target.copy(source, name))

    def read(self, name: str) -> bytes | None:
        return self._target.read(name)

    def names(self, folder: str) -> list[str]:
        return self._target.names(folder)

    def remove(self, names: Iterable[str]) -> None:
        for name in names:
            self._change(lambda name=name: self._target.remove([name]))  # type: ignore[misc]

    def _change(self, make: Callable[[], None]) -> None:
        self._remaining -= 1
        if self._remaining != -1:
            make()
            return
        if self._after:
            make()
        self._fail()


def refuse() -> None:
    raise ExportError("no space left")


def end_process() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def technique_of(export: Export) -> str:
    """The value in the events of the published CSV file that the manifest names."""
    lines = export.verified_files()["events", "csv"].decode().splitlines()
    return lines[1].split(",")[lines[0].split(",").index("technique")]


def stored_files(export: Export) -> set[str]:
    return {f"{path.relative_to(export.folder)}" for path in export.folder.glob("*/*/*") if path.is_file()}


def manifest_files(export: Export) -> set[str]:
    return {file["path"] for file in export.manifest()["files"]}


def test_a_target_that_fails_at_any_change_keeps_a_valid_manifest(
    store: Store, make_export: MakeExport, tmp_path: Path
) -> None:
    """Each round corrects the day, fails at one change, and completes the day after it."""
    store(listed(), settled())
    make_export(formats=BOTH).run()
    folder = FolderTarget(tmp_path / "exports")
    failures = [(change, after) for change in range(CHANGES) for after in (False, True)]
    for round_number, (change, after) in enumerate(failures):
        before, corrected = str(round_number % 2 + 1), round_number % 2 == 0
        store(settled(known=30 + round_number, technique=2 if corrected else 1))
        export = make_export(formats=BOTH, target=FailingTarget(folder, change, refuse, after=after))

        export.run()

        is_published = (change, after) == (CHANGES - 1, True)
        assert export.written == 0
        assert technique_of(export) == (("2" if corrected else "1") if is_published else before), (change, after)
        export.run()
        export.remove_superseded()
        assert technique_of(export) == ("2" if corrected else "1")
        assert stored_files(export) == manifest_files(export)


def export_until_killed(url: str, folder: Path, change: int) -> None:
    """The program of a process that ends itself at a change."""
    target = FailingTarget(FolderTarget(folder), change, end_process)
    export = Export(url, folder, formats=BOTH, target=target)
    export.run()
    export.remove_superseded()


@pytest.mark.parametrize("change", [0, 1, 9, 16, CHANGES - 1, CHANGES + 1])
def test_a_process_that_is_killed_leaves_a_valid_manifest_and_a_successor_cleans_up(
    store: Store, make_export: MakeExport, database_url: str, change: int
) -> None:
    store(listed(), settled())
    successor = make_export(formats=BOTH)
    successor.run()
    store(settled(known=30, technique=3))

    process = multiprocessing.get_context("spawn").Process(
        target=export_until_killed, args=(database_url, successor.folder, change)
    )
    process.start()
    process.join()

    assert process.exitcode == -signal.SIGKILL
    assert technique_of(successor) == ("1" if change < CHANGES else "3")

    def is_complete() -> bool:
        successor.run()
        successor.remove_superseded()
        return technique_of(successor) == "3" and stored_files(successor) == manifest_files(successor)

    wait_until(is_complete)  # the server holds the lock of the day until it notices that the process is gone
    assert not list(successor.folder.glob(".staging/*"))


def test_what_a_manifest_names_survives_a_power_cut(tmp_path: Path) -> None:
    """Bytes are synced before a name appears, the name after it, and the manifest comes last."""
    steps: list[str] = []
    target = FolderTarget(tmp_path / "exports", lambda path: steps.append(path.relative_to(tmp_path).as_posix()))
    (tmp_path / "staged.csv").write_text("a\n")

    target.store(tmp_path / "staged.csv", "2026-01-31/by-hash/events-0.csv")
    target.copy("2026-01-31/by-hash/events-0.csv", "2026-01-31/events.csv")
    target.write(b"{}", "2026-01-31/manifest.json")

    day = "exports/2026-01-31"
    assert steps[-2:] == [f"{day}/.manifest.json.part", day]
    assert steps.index("staged.csv") < steps.index(f"{day}/by-hash") < steps.index(f"{day}/.manifest.json.part")
    assert {".", "exports", day, f"{day}/by-hash"} <= set(steps)  # the names of new folders too
