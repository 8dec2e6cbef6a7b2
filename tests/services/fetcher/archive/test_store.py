"""The archive of documents on disk: bodies by hash, and an index of lines."""

from __future__ import annotations

import hashlib
import threading
import tracemalloc
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
import zstandard

from services.fetcher.archive.files import locked
from services.fetcher.archive.index import MAX_LINE_BYTES, index_texts
from services.fetcher.archive.store import DocumentArchive
from services.fetcher.sources.documents import Document
from shared.errors import InvalidDocument, TransientError
from tests.services.fetcher.synthetic_documents import DAY, NOON, document, event
from tests.waiting import wait_until


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


def test_a_body_that_unpacks_to_more_than_the_limit_is_refused_in_bounded_memory(tmp_path: Path) -> None:
    bomb = b"0" * 100_000_000
    hash_ = hashlib.sha256(bomb).hexdigest()
    archive = DocumentArchive(tmp_path, max_body_bytes=1_000_000)
    path = tmp_path / hash_[:2] / f"{hash_[2:]}.zst"
    path.parent.mkdir()
    path.write_bytes(zstandard.ZstdCompressor().compress(bomb))
    del bomb

    tracemalloc.start()
    with pytest.raises(InvalidDocument, match="at most 1,000,000 bytes"):
        archive.read(hash_)
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert peak_bytes < 10_000_000


def test_lines_of_another_program_that_are_no_index_lines_are_left_out(tmp_path: Path) -> None:
    archive, stored = DocumentArchive(tmp_path), document("cards", [event(1)])
    archive.put(stored)
    line = (tmp_path / "index.jsonl").read_bytes().strip()
    others = [
        line.replace(stored.hash.encode(), b"../../etc/passwd"),
        line.replace(b"+00:00", b"").replace(b'Z"', b'"'),
        b"[" * 100_000,
        b'{"feed":"' + b"x" * 10_000_000 + b'"}',
        b"\xff\xfe",
    ]

    (tmp_path / "index.jsonl").write_bytes(b"\n".join([*others, b"", line]))

    assert [each.hash for each in archive.documents()] == [stored.hash]
    assert [each.line is None for each in index_texts(tmp_path / "index.jsonl")] == [True] * len(others) + [False]
    assert max(len(each.text) for each in index_texts(tmp_path / "index.jsonl")) <= MAX_LINE_BYTES


def test_an_index_that_another_process_replaces_gets_the_lines_of_both(tmp_path: Path) -> None:
    archive = DocumentArchive(tmp_path)
    first, second = document("cards", [event(1)]), document("cards", [event(2)])
    archive.put(first)
    index, copy = tmp_path / "index.jsonl", tmp_path / "copy"

    with locked(index):
        writer = threading.Thread(target=archive.put, args=(second,))
        writer.start()
        wait_until((tmp_path / second.hash[:2] / f"{second.hash[2:]}.zst").exists)
        copy.write_bytes(index.read_bytes())
        copy.replace(index)
    writer.join()

    assert [line.hash for line in DocumentArchive(tmp_path).documents()] == [first.hash, second.hash]


def test_a_window_whose_line_was_removed_gets_one_again(tmp_path: Path) -> None:
    archive, stored = DocumentArchive(tmp_path), document("cards", [event(1)])
    archive.put(stored)
    archive.put(stored)
    (tmp_path / "empty").write_bytes(b"")
    (tmp_path / "empty").replace(tmp_path / "index.jsonl")

    archive.put(stored)

    assert [line.hash for line in archive.documents()] == [stored.hash]


def test_a_folder_that_cannot_be_written_is_a_transient_error(tmp_path: Path) -> None:
    (tmp_path / "archive").write_text("a file where the folder should be")

    with pytest.raises(TransientError, match="cannot store"):
        DocumentArchive(tmp_path / "archive").put(document("cards", [event(1)]))
