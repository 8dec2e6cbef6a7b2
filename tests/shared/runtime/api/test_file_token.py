"""A token in admin.token_file that is replaced while the service runs."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import structlog

from shared.errors import ConfigError
from shared.runtime.api.file_token import CHECK_S, FileToken
from tests.shared.runtime.api.admin_apps import (
    FILE_TOKEN,
    UNREACHABLE_DATABASE,
    auth_headers,
    cleaner_settings,
    serve_admin_app,
    write_token_file,
)
from tests.waiting import wait_until

NEW = "n" * 40


class GivenClock:
    now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


def replace(file: Path, text: str, mode: int = 0o600) -> None:
    new = file.with_name("new")
    new.touch(mode)
    new.write_text(text)
    os.replace(new, file)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return write_token_file(tmp_path)


def test_a_replaced_token_is_used_within_a_second_and_the_old_one_is_refused(file: Path) -> None:
    clock = GivenClock()
    is_token = FileToken(file, clock)
    replace(file, f"{NEW}\n")
    assert (is_token(FILE_TOKEN), is_token(NEW)) == (True, False)  # the file is not looked at for each request

    clock.now_s = CHECK_S

    assert (is_token(FILE_TOKEN), is_token(NEW)) == (False, True)


def test_a_token_that_is_written_into_the_same_file_is_used(file: Path) -> None:
    clock = GivenClock()
    is_token = FileToken(file, clock)
    file.write_text(NEW)
    clock.now_s = CHECK_S

    assert is_token(NEW)


@pytest.mark.parametrize(("text", "mode"), [("short", 0o600), (NEW, 0o604), ("", 0o600), (None, 0)])
def test_the_token_before_stays_valid_if_the_new_one_cannot_be_used(file: Path, text: str | None, mode: int) -> None:
    clock = GivenClock()
    is_token = FileToken(file, clock)
    if text is None:
        file.unlink()
    else:
        replace(file, text, mode)

    with structlog.testing.capture_logs() as logs:
        for clock.now_s in (CHECK_S, 2 * CHECK_S):
            assert (is_token(FILE_TOKEN), is_token(NEW)) == (True, False)

    assert [each["event"] for each in logs] == ["admin_token_unusable"]
    assert NEW not in str(logs)
    replace(file, NEW)
    clock.now_s = 3 * CHECK_S
    assert is_token(NEW)


def test_a_service_does_not_start_with_an_unusable_file(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("short")

    with pytest.raises(ConfigError, match="at least 32"):
        FileToken(tmp_path / "token")


def test_a_running_service_accepts_the_new_token(file: Path) -> None:
    with serve_admin_app(cleaner_settings(UNREACHABLE_DATABASE, file)) as client:
        assert client.get("/v1/status").status_code == 200
        replace(file, NEW)
        wait_until(lambda: client.get("/v1/status", headers=auth_headers(NEW)).status_code == 200)
        assert client.get("/v1/status").status_code == 401
