"""Reading documents from a folder of recorded files."""

from __future__ import annotations

import gzip
from datetime import date, timedelta
from pathlib import Path

import pytest

from services.fetcher.planning.windows import DueWindow, Window
from services.fetcher.sources.documents import Absence, Document
from services.fetcher.sources.recorded_files import RecordedFileSource
from shared.errors import ConfigError, InvalidDocument
from tests.services.fetcher.synthetic_documents import DAY, NOON, SettableClock, body, event, made_source, record_file

CARDS = DueWindow(Window("cards", DAY), historical=True)


def recorded_source(folder: Path, content: bytes = body("cards", [event(1)])) -> RecordedFileSource:
    record_file(folder, "cards", DAY, content)
    return RecordedFileSource(made_source(), folder, SettableClock())


def test_a_days_file_is_a_historical_document(tmp_path: Path) -> None:
    content = body("cards", [event(1)])

    document = recorded_source(tmp_path, content).fetch(CARDS, None)

    path = "v2/cards/2031/20310504.json.gz"
    assert document == Document("cards", DAY, path, content, NOON, historical=True)


def test_a_missing_file_is_not_published(tmp_path: Path) -> None:
    source = recorded_source(tmp_path)

    assert source.fetch(DueWindow(Window("ends", DAY), historical=True), None) is Absence.NOT_PUBLISHED


@pytest.mark.parametrize(
    ("content", "cause"),
    [
        pytest.param(gzip.compress(body("cards", [event(1)]))[:-12], "is truncated", id="truncated"),
        pytest.param(gzip.compress(body("cards", [event(1)]))[:-8] + b"12345678", "damaged", id="wrong checksum"),
        pytest.param(b"", "is truncated", id="empty"),
        pytest.param(body("cards", [event(1)]), "expected an undamaged gzip file", id="not compressed"),
        pytest.param(gzip.compress(b" " * 1_000_001), "at most 1,000,000 bytes", id="too large"),
        pytest.param(gzip.compress(b"{}") * 2, "one gzip member", id="two members"),
    ],
)
def test_a_damaged_file_is_refused_with_its_cause(tmp_path: Path, content: bytes, cause: str) -> None:
    source = recorded_source(tmp_path)
    record_file(tmp_path, "cards", DAY, b"").write_bytes(content)

    with pytest.raises(InvalidDocument, match=cause):
        source.fetch(CARDS, None)


def test_the_first_and_the_last_day_are_found(tmp_path: Path) -> None:
    source = recorded_source(tmp_path)
    record_file(tmp_path, "ends", DAY + timedelta(days=3), b"{}")
    (tmp_path / "v2" / "cards" / "notes.txt").write_text("not a day")

    assert source.day_range() == (DAY, date(2031, 5, 7))


def test_a_folder_without_the_layout_is_a_config_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"v2/\{feed\}"):
        RecordedFileSource(made_source(), tmp_path, SettableClock())


def test_a_source_that_declares_no_archive_has_none(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="archive"):
        RecordedFileSource(made_source(archive=None), tmp_path, SettableClock())


def test_an_archive_without_days_is_a_config_error(tmp_path: Path) -> None:
    (tmp_path / "v2").mkdir()

    with pytest.raises(ConfigError, match="has no documents"):
        RecordedFileSource(made_source(), tmp_path, SettableClock()).day_range()


class TestLinks:
    """An archive may consist of symbolic links."""

    def test_a_link_to_a_file_is_read(self, tmp_path: Path) -> None:
        elsewhere = record_file(tmp_path / "elsewhere", "cards", DAY, body("cards", [event(1)]))
        path = tmp_path / "archive" / "v2" / "cards" / "2031" / "20310504.json.gz"
        path.parent.mkdir(parents=True)
        path.symlink_to(elsewhere)
        source = RecordedFileSource(made_source(), tmp_path / "archive", SettableClock())

        assert source.recorded_days() == [DAY]
        assert isinstance(source.fetch(CARDS, None), Document)

    @pytest.mark.parametrize("linked", ["", "v2", "v2/cards", "v2/cards/2031"])
    def test_a_link_to_a_folder_is_followed(self, tmp_path: Path, linked: str) -> None:
        target_archive = tmp_path / "elsewhere"
        record_file(target_archive, "cards", DAY, body("cards", [event(1)]))
        record_file(target_archive, "cards", date(2030, 12, 31), body("cards", []))
        link = tmp_path / "archive" / linked
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(target_archive / linked)
        if linked == "v2/cards/2031":
            record_file(tmp_path / "archive", "cards", date(2030, 12, 31), body("cards", []))
        source = RecordedFileSource(made_source(), tmp_path / "archive", SettableClock())

        assert source.day_range() == (date(2030, 12, 31), DAY)
        assert isinstance(source.fetch(CARDS, None), Document)

    @pytest.mark.parametrize(("link", "target"), [("loop", "../.."), ("2030", ".."), ("2029", "2031"), ("me", ".")])
    def test_a_link_to_a_parent_folder_is_not_followed_endlessly(self, tmp_path: Path, link: str, target: str) -> None:
        source = recorded_source(tmp_path)
        (tmp_path / "v2" / "cards" / link).symlink_to(target)

        assert source.recorded_days() == [DAY]

    @pytest.mark.parametrize("target", ["nowhere", "2030"])
    def test_a_folder_that_is_a_broken_link_is_refused_by_name(self, tmp_path: Path, target: str) -> None:
        source = recorded_source(tmp_path)
        link = tmp_path / "v2" / "looks" / "2030"
        link.parent.mkdir()
        link.symlink_to(target)

        with pytest.raises(ConfigError, match=rf"v2/looks/2030 is a broken symbolic link \(to {target}\)"):
            source.recorded_days()

    @pytest.mark.parametrize("target", ["nowhere", "20310504.json.gz"])
    def test_a_file_that_is_a_broken_link_is_a_day_that_fails_by_name(self, tmp_path: Path, target: str) -> None:
        source = recorded_source(tmp_path)
        link = tmp_path / "v2" / "cards" / "2031" / "20310504.json.gz"
        link.unlink()
        link.symlink_to(target)

        assert source.recorded_days() == [DAY]
        with pytest.raises(InvalidDocument, match=rf"20310504.json.gz is a broken symbolic link \(to {target}\)"):
            source.fetch(CARDS, None)

    def test_a_file_behind_a_broken_link_fails_with_the_name_of_the_link(self, tmp_path: Path) -> None:
        source = recorded_source(tmp_path)
        year = tmp_path / "v2" / "cards" / "2031"
        year.rename(tmp_path / "moved")
        year.symlink_to("nowhere")

        with pytest.raises(InvalidDocument, match=r"v2/cards/2031 is a broken symbolic link \(to nowhere\)"):
            source.fetch(CARDS, None)

    def test_an_archive_behind_a_broken_link_is_refused_by_name(self, tmp_path: Path) -> None:
        (tmp_path / "archive").symlink_to("nowhere")

        with pytest.raises(ConfigError, match=r"archive is a broken symbolic link \(to nowhere\)"):
            RecordedFileSource(made_source(), tmp_path / "archive", SettableClock())
