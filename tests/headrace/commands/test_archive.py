"""The command `headrace archive verify`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from headrace.cli import command
from services.fetcher.archive.store import DocumentArchive
from tests.services.fetcher.synthetic_documents import DAY, document, event


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    """A data directory whose archive has a damaged body and a good one."""
    archive = DocumentArchive(tmp_path / "archive")
    for number in (1, 2):
        archive.put(document("cards", [event(number)]))
    hash_ = next(archive.documents()).hash
    (tmp_path / "archive" / hash_[:2] / f"{hash_[2:]}.zst").write_bytes(b"not compressed")
    return tmp_path


def verify(capfd: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    code = command(["archive", "verify", *arguments])
    return code, *capfd.readouterr()


def answer(capfd: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, dict[str, Any]]:
    code, out, _ = verify(capfd, *arguments, "-o", "json")
    return code, json.loads(out)


def test_damage_is_listed_and_gives_exit_code_1(data_dir: Path, capfd: pytest.CaptureFixture[str]) -> None:
    code, out, err = verify(capfd, "--data-dir", str(data_dir))

    assert code == 1
    assert "damaged" in out
    assert f"cards/{DAY}" in out
    assert err == f"headrace: {data_dir / 'archive'}: 1 problem\n"


def test_a_repair_gives_exit_code_0_and_names_what_to_fetch_again(
    data_dir: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    code, _, err = verify(capfd, "--data-dir", str(data_dir), "--repair")

    assert code == 0
    assert f"headrace backfill --again`: cards/{DAY}" in err
    assert answer(capfd, str(data_dir / "archive")) == (
        0,
        {
            "archive": str(data_dir / "archive"),
            "lines": 1,
            "bodies": 1,
            "bytes": len(document("cards", [event(2)]).body),
            "counts": {"unreadable": 0, "missing": 0, "damaged": 0, "orphan": 0, "partial": 0},
            "findings": [],
            "repaired": False,
        },
    )


def test_the_answer_for_programs_has_each_finding(data_dir: Path, capfd: pytest.CaptureFixture[str]) -> None:
    code, body = answer(capfd, "--data-dir", str(data_dir))

    assert code == 1
    assert body["counts"]["damaged"] == 1
    assert [(each["kind"], each["windows"]) for each in body["findings"]] == [("damaged", [f"cards/{DAY}"])]


def test_a_whole_archive_is_one_line(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    DocumentArchive(tmp_path).put(document("cards", [event(1)]))

    code, out, _ = verify(capfd, str(tmp_path))

    assert (code, out) == (0, f"{tmp_path}: 1 bodies and 1 lines of the index are consistent\n")


def test_a_folder_without_an_archive_is_a_wrong_option(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    code, _, err = verify(capfd, str(tmp_path))

    assert code == 2
    assert "contains no archive of documents" in err
