"""The archive of documents on disk: bodies by hash, and an index of lines."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from services.fetcher.archive.store import DocumentArchive
from services.fetcher.sources.documents import Document
from shared.errors import InvalidDocument, TransientError
from tests.services.fetcher.synthetic_documents import DAY, NOON, document, event


def files(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def test_a_stored_document_can_be_read_unchanged(tmp_path: Path) -> None:
    archive, stored = DocumentArchive(tmp_path), document("cards", [event(1)])

    archive.put(stored)

    assert archive.read(stored.hash) == stored.body
    assert files(tmp_path) == sorted([f"{stored.hash[:2]}/{stored.hash[2:]}.zst", "index.jsonl"])


def test_the_index_has_the_origin_of_each_document_in_order(tmp_path: Path) -> None:
    archive = DocumentArchive(tmp_path)
    first = document("cards", [event(1)])
    second = Document(
        "ends", DAY, "/ends/today.json", b"{}", NOON + timedelta(seconds=5), published_at=NOON, etag='"e"'
    )

    for stored in (first, second):
        archive.put(stored)

    assert [(line.feed, line.hash) for line in archive.documents()] == [("cards", first.hash), ("ends", second.hash)]
    last = list(archive.documents())[-1]
    assert (last.date, last.url, last.fetched_at, last.published_at, last.historical) == (
        DAY,
        "/ends/today.json",
        NOON + timedelta(seconds=5),
        NOON,
        False,
    )


def test_the_same_content_is_written_once(tmp_path: Path) -> None:
    archive, stored = DocumentArchive(tmp_path), document("cards", [event(1)])
    archive.put(stored)
    path = tmp_path / stored.hash[:2] / f"{stored.hash[2:]}.zst"
    file_identity = path.stat().st_mtime_ns, path.stat().st_ino

    archive.put(stored)

    assert (path.stat().st_mtime_ns, path.stat().st_ino) == file_identity
    assert len(list(archive.documents())) == 1


def test_a_document_that_returns_or_becomes_historical_gets_its_own_line(tmp_path: Path) -> None:
    one, other = document("cards", [event(1)]), document("cards", [event(2)])
    history = replace(one, historical=True)
    DocumentArchive(tmp_path).put(one)
    archive = DocumentArchive(tmp_path)  # as after a restart of the process

    for stored in (one, other, one, one, history, history):
        archive.put(stored)

    lines = [(line.hash, line.historical) for line in DocumentArchive(tmp_path).documents()]
    assert lines == [(one.hash, False), (other.hash, False), (one.hash, False), (one.hash, True)]


def test_the_same_content_in_two_windows_belongs_to_both(tmp_path: Path) -> None:
    archive, one = DocumentArchive(tmp_path), document("cards", [event(1)])

    archive.put(one)
    archive.put(replace(one, date=DAY + timedelta(days=1)))

    assert [line.date for line in archive.documents()] == [DAY, DAY + timedelta(days=1)]


@pytest.mark.parametrize("damage", [b"", b"not compressed", b"\x28\xb5\x2f\xfd"])
def test_a_damaged_document_is_refused(tmp_path: Path, damage: bytes) -> None:
    archive, stored = DocumentArchive(tmp_path), document("cards", [event(1)])
    archive.put(stored)
    (tmp_path / stored.hash[:2] / f"{stored.hash[2:]}.zst").write_bytes(damage)

    with pytest.raises(InvalidDocument, match=stored.hash):
        archive.read(stored.hash)


def test_a_document_under_another_hash_is_refused(tmp_path: Path) -> None:
    archive = DocumentArchive(tmp_path)
    one, other = document("cards", [event(1)]), document("cards", [event(2)])
    for stored in (one, other):
        archive.put(stored)
    paths = [tmp_path / stored.hash[:2] / f"{stored.hash[2:]}.zst" for stored in (one, other)]
    paths[0].write_bytes(paths[1].read_bytes())

    with pytest.raises(InvalidDocument, match="does not match the hash"):
        archive.read(one.hash)


def test_a_line_truncated_by_a_crash_damages_no_other(tmp_path: Path) -> None:
    archive = DocumentArchive(tmp_path)
    before, after = document("cards", [event(1)]), document("cards", [event(2)])
    archive.put(before)
    with (tmp_path / "index.jsonl").open("ab") as index:
        index.write(b'\n{"feed":"cards","da')

    archive.put(after)

    assert [line.hash for line in archive.documents()] == [before.hash, after.hash]


def test_a_line_without_a_body_is_left_out(tmp_path: Path) -> None:
    archive, stored = DocumentArchive(tmp_path), document("cards", [event(1)])
    archive.put(stored)
    (tmp_path / stored.hash[:2] / f"{stored.hash[2:]}.zst").unlink()

    assert list(archive.documents()) == []


def test_a_folder_that_cannot_be_written_is_a_transient_error(tmp_path: Path) -> None:
    (tmp_path / "archive").write_text("a file where the folder should be")

    with pytest.raises(TransientError, match="cannot store"):
        DocumentArchive(tmp_path / "archive").put(document("cards", [event(1)]))
