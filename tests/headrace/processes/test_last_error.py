"""Why a program ended."""

from __future__ import annotations

import json
from pathlib import Path

from headrace.processes.last_error import last_error


def log(tmp_path: Path, *lines: str) -> Path:
    file = tmp_path / "x.log"
    file.write_text("\n".join(lines) + "\n")
    return file


def test_the_exception_of_a_json_log_is_told_and_not_what_came_after(tmp_path: Path) -> None:
    died = json.dumps({"level": "error", "event": "died", "exception": "Traceback ...\n  at\nValueError: no luck"})

    assert last_error(log(tmp_path, died, json.dumps({"level": "info", "event": "stopped"}))) == "ValueError: no luck"


def test_an_error_without_an_exception_is_told_by_its_event(tmp_path: Path) -> None:
    assert last_error(log(tmp_path, json.dumps({"level": "error", "event": "cut off"}))) == "cut off"


def test_of_a_plain_log_the_last_line_is_told(tmp_path: Path) -> None:
    assert last_error(log(tmp_path, "one", "loader: database.url is missing", "")) == "loader: database.url is missing"


def test_a_program_that_said_nothing_is_no_error(tmp_path: Path) -> None:
    assert last_error(tmp_path / "absent.log") == "nothing"
