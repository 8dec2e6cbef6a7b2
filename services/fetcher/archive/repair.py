"""Repairs an archive of raw documents after its verification. Nothing is deleted: bad files move to `set-aside`.

Afterwards every line of the index has its body. A document whose body was damaged or missing is no longer in the
archive; the fetcher stores it when it fetches the window again.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path

from services.fetcher.archive.files import DiskFiles
from services.fetcher.archive.index import INDEX, IndexText, rewrite_index
from services.fetcher.archive.store import body_path
from services.fetcher.archive.verify import ArchiveFinding

SET_ASIDE = "set-aside"
MOVED = frozenset({"damaged", "orphan", "partial"})


def repaired(folder: Path, findings: Iterable[ArchiveFinding]) -> Iterator[ArchiveFinding]:
    """The findings, each after its file was moved. The index is repaired after the last one. Raises OSError."""
    is_rewritten = False
    for finding in findings:
        if finding.kind in MOVED:
            _set_aside(folder, folder / finding.path)
        is_rewritten = is_rewritten or finding.kind not in {"orphan", "partial"}
        yield finding
    if is_rewritten:
        rewrite_index(folder / INDEX, lambda: partial(_is_whole, folder), folder / SET_ASIDE / INDEX)


def _is_whole(folder: Path, text: IndexText) -> bool:
    return text.line is not None and body_path(folder, text.line.hash).exists()


def _set_aside(folder: Path, path: Path) -> None:
    target = folder / SET_ASIDE
    target.mkdir(exist_ok=True)
    path.replace(target / f"{path.parent.name}{path.name}")
    for each in (path.parent, target, folder):
        DiskFiles().sync(each)
