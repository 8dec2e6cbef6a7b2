"""Refused responses are stored in a bounded folder."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from services.fetcher.archive.rejected import MAX_BODY_BYTES, RejectedResponses
from services.fetcher.planning.windows import Window
from services.fetcher.sources.documents import Refusal, RefusedResponse, SourceResponse
from tests.services.fetcher.synthetic_documents import DAY, NOON

WINDOW = Window("cards", DAY)


def refused(body: bytes = b"busy", headers: tuple[tuple[str, str], ...] = ()) -> RefusedResponse:
    return RefusedResponse("no document", Refusal.STATUS, SourceResponse("http://host/a.json", 403, headers, body))


def bodies(folder: Path) -> set[bytes]:
    return {path.read_bytes() for path in (folder / "rejected").glob("*.body")}


def test_the_same_response_is_stored_once(tmp_path: Path) -> None:
    rejected = RejectedResponses(tmp_path)

    names = {rejected.put(WINDOW, refused(), NOON) for _ in range(3)}

    assert len(names) == 1
    assert len(list((tmp_path / "rejected").iterdir())) == 2


def test_a_long_body_is_cut(tmp_path: Path) -> None:
    name = RejectedResponses(tmp_path).put(WINDOW, refused(b"a" * (MAX_BODY_BYTES + 1)), NOON)

    assert name is not None
    meta = json.loads((tmp_path / name).read_bytes())
    assert (meta["body_bytes"], meta["is_body_cut"]) == (MAX_BODY_BYTES + 1, True)
    assert bodies(tmp_path) == {b"a" * MAX_BODY_BYTES}


def put_in_order(rejected: RejectedResponses, folder: Path, contents: list[bytes]) -> None:
    """Puts responses, each a second older in the file system than the next."""
    for number, content in enumerate(contents):
        name = rejected.put(WINDOW, refused(content), NOON)
        assert name is not None
        for path in (folder / name).parent.glob(f"{Path(name).stem}.*"):
            os.utime(path, (number, number))


def test_the_oldest_responses_are_removed_beyond_the_number(tmp_path: Path) -> None:
    rejected = RejectedResponses(tmp_path, max_responses=2)

    put_in_order(rejected, tmp_path, [b"first", b"second", b"third"])

    assert bodies(tmp_path) == {b"second", b"third"}


def test_the_oldest_responses_are_removed_beyond_the_total_size(tmp_path: Path) -> None:
    rejected = RejectedResponses(tmp_path, max_total_bytes=25_000)

    put_in_order(rejected, tmp_path, [b"a" * 10_000, b"b" * 10_000, b"c" * 10_000])

    assert bodies(tmp_path) == {b"b" * 10_000, b"c" * 10_000}


def test_files_that_a_crash_left_are_removed_as_the_oldest(tmp_path: Path) -> None:
    rejected = RejectedResponses(tmp_path, max_responses=1)
    (tmp_path / "rejected").mkdir()
    left = tmp_path / "rejected" / "cards-2031-05-04-0123.body.partial"
    left.write_bytes(b"half")
    os.utime(left, (0, 0))

    rejected.put(WINDOW, refused(), NOON)

    assert not left.exists()


def test_headers_of_any_bytes_are_stored_without_secrets(tmp_path: Path) -> None:
    headers = (("X-\xe9", "\xff\x00"), ("Location", "http://user:opensesame@host/"))

    name = RejectedResponses(tmp_path).put(WINDOW, refused(headers=headers), NOON)

    assert name is not None
    assert json.loads((tmp_path / name).read_bytes())["headers"] == [
        ["X-\xe9", "\xff\x00"], ["Location", "http://user:***@host/"],
    ]  # fmt: skip


@pytest.mark.parametrize("response", [None, SourceResponse("http://host/", 403)])
def test_each_refusal_is_counted(tmp_path: Path, response: SourceResponse | None) -> None:
    reasons: list[str] = []

    RejectedResponses(tmp_path, reasons.append).put(WINDOW, RefusedResponse("no", Refusal.HEADER, response), NOON)

    assert reasons == ["header"]


def test_a_folder_that_cannot_be_written_loses_only_the_response(tmp_path: Path) -> None:
    (tmp_path / "rejected").write_bytes(b"a file instead of a folder")

    assert RejectedResponses(tmp_path).put(WINDOW, refused(), NOON) is None
