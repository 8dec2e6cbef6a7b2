from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from services.fetcher.archive.store import DocumentArchive
from services.fetcher.sources.documents import Document
from shared.errors import InvalidDocument, TransientError
from tests.services.fetcher.made import DAY, NOON, document, event


def files(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def test_a_document_comes_back_as_it_went_in(tmp_path: Path) -> None:
    archive, kept = DocumentArchive(tmp_path), document("cards", [event(1)])

    archive.put(kept)

    assert archive.read(kept.hash) == kept.body
    assert files(tmp_path) == sorted([f"{kept.hash[:2]}/{kept.hash[2:]}.zst", "index.jsonl"])


def test_the_index_tells_where_documents_came_from_in_order(tmp_path: Path) -> None:
    archive = DocumentArchive(tmp_path)
    first = document("cards", [event(1)])
    second = Document(
        "ends", DAY, "/ends/today.json", b"{}", NOON + timedelta(seconds=5), published_at=NOON, etag='"e"'
    )

    for kept in (first, second):
        archive.put(kept)

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
    archive, kept = DocumentArchive(tmp_path), document("cards", [event(1)])
    archive.put(kept)
    path = tmp_path / kept.hash[:2] / f"{kept.hash[2:]}.zst"
    written = path.stat().st_mtime_ns, path.stat().st_ino

    archive.put(kept)

    assert (path.stat().st_mtime_ns, path.stat().st_ino) == written
    assert len(list(archive.documents())) == 1


def test_a_document_that_comes_back_and_one_that_becomes_history_have_lines_of_their_own(tmp_path: Path) -> None:
    one, other = document("cards", [event(1)]), document("cards", [event(2)])
    history = replace(one, historical=True)
    DocumentArchive(tmp_path).put(one)
    archive = DocumentArchive(tmp_path)  # a process that was started again

    for kept in (one, other, one, one, history, history):
        archive.put(kept)

    found = [(line.hash, line.historical) for line in DocumentArchive(tmp_path).documents()]
    assert found == [(one.hash, False), (other.hash, False), (one.hash, False), (one.hash, True)]


def test_the_same_content_in_two_windows_belongs_to_both(tmp_path: Path) -> None:
    archive, one = DocumentArchive(tmp_path), document("cards", [event(1)])

    archive.put(one)
    archive.put(replace(one, date=DAY + timedelta(days=1)))

    assert [line.date for line in archive.documents()] == [DAY, DAY + timedelta(days=1)]


@pytest.mark.parametrize("damage", [b"", b"nothing packed", b"\x28\xb5\x2f\xfd"])
def test_a_damaged_document_is_refused(tmp_path: Path, damage: bytes) -> None:
    archive, kept = DocumentArchive(tmp_path), document("cards", [event(1)])
    archive.put(kept)
    (tmp_path / kept.hash[:2] / f"{kept.hash[2:]}.zst").write_bytes(damage)

    with pytest.raises(InvalidDocument, match=kept.hash):
        archive.read(kept.hash)


def test_a_document_under_another_ones_name_is_refused(tmp_path: Path) -> None:
    archive = DocumentArchive(tmp_path)
    one, other = document("cards", [event(1)]), document("cards", [event(2)])
    for kept in (one, other):
        archive.put(kept)
    paths = [tmp_path / kept.hash[:2] / f"{kept.hash[2:]}.zst" for kept in (one, other)]
    paths[0].write_bytes(paths[1].read_bytes())

    with pytest.raises(InvalidDocument, match="does not match the hash"):
        archive.read(one.hash)


def test_a_line_that_a_crash_cut_off_spoils_no_other(tmp_path: Path) -> None:
    archive = DocumentArchive(tmp_path)
    before, after = document("cards", [event(1)]), document("cards", [event(2)])
    archive.put(before)
    with (tmp_path / "index.jsonl").open("ab") as index:
        index.write(b'\n{"feed":"cards","da')

    archive.put(after)

    assert [line.hash for line in archive.documents()] == [before.hash, after.hash]


def test_a_line_without_a_body_is_left_out(tmp_path: Path) -> None:
    archive, kept = DocumentArchive(tmp_path), document("cards", [event(1)])
    archive.put(kept)
    (tmp_path / kept.hash[:2] / f"{kept.hash[2:]}.zst").unlink()

    assert list(archive.documents()) == []


def test_a_place_that_cannot_be_written_passes_maybe(tmp_path: Path) -> None:
    (tmp_path / "archive").write_text("a file where the folder should be")

    with pytest.raises(TransientError, match="cannot store"):
        DocumentArchive(tmp_path / "archive").put(document("cards", [event(1)]))
