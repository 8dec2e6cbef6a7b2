"""Verification and repair of an archive of documents."""

from __future__ import annotations

import os
import threading
import tracemalloc
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
import zstandard

from services.fetcher.archive.index import INDEX
from services.fetcher.archive.repair import SET_ASIDE, repaired
from services.fetcher.archive.store import DocumentArchive
from services.fetcher.archive.verify import SETTLING_S, ArchiveFinding, Verification
from services.fetcher.sources.documents import Document
from shared.errors import ConfigError
from tests.services.fetcher.synthetic_documents import DAY, document, event

ONE = timedelta(days=1)
LONG_AGO_S = 1_000_000.0


def filled(folder: Path, days: int = 3) -> list[Document]:
    """An archive of cards of some days, whose files are old."""
    archive, stored = DocumentArchive(folder), []
    for number in range(days):
        day = DAY + number * ONE
        stored.append(document("cards", [event(1, day)], day))
        archive.put(stored[-1])
    for path in folder.rglob("*.zst"):
        os.utime(path, (LONG_AGO_S, LONG_AGO_S))
    return stored


def path_of(folder: Path, hash_: str) -> Path:
    return folder / hash_[:2] / f"{hash_[2:]}.zst"


def found(folder: Path, pass_bytes: int = 1_000_000) -> list[tuple[str, str, tuple[str, ...]]]:
    verification = Verification(folder, pass_bytes=pass_bytes)
    return sorted((each.kind, each.path, each.windows) for each in verification.findings())


def relative(hash_: str) -> str:
    return f"{hash_[:2]}/{hash_[2:]}.zst"


def test_a_whole_archive_has_no_findings(tmp_path: Path) -> None:
    filled(tmp_path)
    verification = Verification(tmp_path)

    assert list(verification.findings()) == []
    assert (verification.progress.lines, verification.progress.bodies, verification.progress.folders) == (3, 3, 256)


@pytest.mark.parametrize(
    "pass_bytes", [1_000_000, 100, 1], ids=["one pass", "several passes", "a pass for each folder"]
)
def test_each_kind_of_damage_is_found_with_its_windows(tmp_path: Path, pass_bytes: int) -> None:
    damaged, swapped, missing, orphan, good = filled(tmp_path, 5)
    path_of(tmp_path, damaged.hash).write_bytes(b"not compressed")
    path_of(tmp_path, swapped.hash).write_bytes(path_of(tmp_path, good.hash).read_bytes())
    path_of(tmp_path, missing.hash).unlink()
    index = tmp_path / INDEX
    lines = [line for line in index.read_bytes().splitlines() if orphan.hash.encode() not in line]
    index.write_bytes(b"\n".join([*lines, b'{"feed":"cards","da']))
    partial = path_of(tmp_path, good.hash).with_suffix(".12-34.partial")
    partial.write_bytes(b"x")
    os.utime(partial, (LONG_AGO_S, LONG_AGO_S))

    findings = found(tmp_path, pass_bytes)

    assert findings == sorted(
        [
            ("damaged", relative(damaged.hash), (f"cards/{DAY}",)),
            ("damaged", relative(swapped.hash), (f"cards/{DAY + ONE}",)),
            ("missing", relative(missing.hash), (f"cards/{DAY + 2 * ONE}",)),
            ("orphan", relative(orphan.hash), ()),
            ("unreadable", INDEX, ()),
            ("partial", partial.relative_to(tmp_path).as_posix(), ()),
        ]
    )


@pytest.mark.parametrize(
    "damage",
    [
        lambda packed: b"",
        lambda packed: packed[:-1],
        lambda packed: packed[: len(packed) // 2],
        lambda packed: packed[:-6] + bytes([packed[-6] ^ 1]) + packed[-5:],
        lambda packed: zstandard.ZstdCompressor().compress(b" " * 100_000_000),
    ],
    ids=["empty", "one byte short", "half", "one bit", "a bomb"],
)
def test_a_damaged_body_is_found_in_bounded_memory(tmp_path: Path, damage: Callable[[bytes], bytes]) -> None:
    stored = filled(tmp_path)
    path = path_of(tmp_path, stored[1].hash)
    path.write_bytes(damage(path.read_bytes()))

    tracemalloc.start()
    findings = found(tmp_path)
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert findings == [("damaged", relative(stored[1].hash), (f"cards/{DAY + ONE}",))]
    assert peak_bytes < 10_000_000


def test_a_body_behind_a_broken_link_is_damaged(tmp_path: Path) -> None:
    stored = filled(tmp_path)
    path = path_of(tmp_path, stored[0].hash)
    path.unlink()
    path.symlink_to("nowhere")

    assert [finding.detail for finding in Verification(tmp_path).findings()] == ["a broken symbolic link"]


def test_an_archive_that_is_being_written_has_no_findings(tmp_path: Path) -> None:
    filled(tmp_path)
    stop, archive = threading.Event(), DocumentArchive(tmp_path)

    def write() -> None:
        number = 0
        while not stop.is_set():
            number += 1
            archive.put(document("cards", [event(1, wind=number)]))

    writer = threading.Thread(target=write)
    writer.start()
    try:
        findings = [each for _ in range(5) for each in Verification(tmp_path).findings()]
    finally:
        stop.set()
        writer.join()

    assert findings == []
    assert len(list(archive.documents())) > 3


def test_a_body_whose_line_comes_later_is_an_orphan_only_after_a_while(tmp_path: Path) -> None:
    filled(tmp_path)
    body = document("cards", [event(9)])
    path = path_of(tmp_path, body.hash)
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(zstandard.ZstdCompressor().compress(body.body))
    written_s = path.stat().st_mtime

    early = list(Verification(tmp_path, lambda: written_s + SETTLING_S - 1).findings())
    late = list(Verification(tmp_path, lambda: written_s + SETTLING_S + 1).findings())

    assert early == []
    assert [finding.kind for finding in late] == ["orphan"]


def test_a_body_that_retention_removes_during_the_verification_is_no_finding(tmp_path: Path) -> None:
    stored = filled(tmp_path, 40)
    first, last = sorted(each.hash for each in stored)[:: len(stored) - 1]
    path_of(tmp_path, first).write_bytes(b"not compressed")  # a finding, so that the pass stops here
    findings = Verification(tmp_path).findings()

    assert next(findings).path == relative(first)
    path_of(tmp_path, last).unlink()

    assert list(findings) == []


def test_a_repaired_archive_is_whole_and_nothing_is_deleted(tmp_path: Path) -> None:
    damaged, missing, orphan, good = filled(tmp_path, 4)
    path_of(tmp_path, damaged.hash).write_bytes(b"not compressed")
    path_of(tmp_path, missing.hash).unlink()
    index = tmp_path / INDEX
    lines = [line for line in index.read_bytes().splitlines() if orphan.hash.encode() not in line]
    index.write_bytes(b"\n".join([*lines, b'{"feed":"cards","da']))

    kinds = {finding.kind for finding in repaired(tmp_path, Verification(tmp_path).findings())}

    assert kinds == {"damaged", "missing", "orphan", "unreadable"}
    assert found(tmp_path) == []
    assert [line.hash for line in DocumentArchive(tmp_path).documents()] == [good.hash]
    aside = tmp_path / SET_ASIDE
    assert (aside / f"{damaged.hash}.zst").read_bytes() == b"not compressed"
    assert zstandard.decompress((aside / f"{orphan.hash}.zst").read_bytes()) == orphan.body
    removed = (aside / INDEX).read_bytes()
    assert damaged.hash.encode() in removed
    assert missing.hash.encode() in removed
    assert b'{"feed":"cards","da' in removed


def test_a_document_that_was_set_aside_is_stored_when_it_is_fetched_again(tmp_path: Path) -> None:
    archive = DocumentArchive(tmp_path)
    damaged, _ = filled(tmp_path, 2)
    archive.put(damaged)
    path_of(tmp_path, damaged.hash).write_bytes(b"not compressed")
    list(repaired(tmp_path, Verification(tmp_path).findings()))

    archive.put(damaged)

    assert archive.read(damaged.hash) == damaged.body
    assert damaged.hash in {line.hash for line in archive.documents()}
    assert found(tmp_path) == []


def test_a_repair_of_a_whole_archive_changes_nothing(tmp_path: Path) -> None:
    filled(tmp_path)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}

    findings: list[ArchiveFinding] = list(repaired(tmp_path, Verification(tmp_path).findings()))

    assert findings == []
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


def test_a_folder_without_an_archive_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no archive of documents"):
        Verification(tmp_path)
