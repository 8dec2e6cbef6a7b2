"""`last_error`: why a program ended, from its log."""

from __future__ import annotations

import json
from pathlib import Path

from headrace.processes.last_error import last_error


def log(tmp_path: Path, *lines: str) -> Path:
    file = tmp_path / "x.log"
    file.write_text("\n".join(lines) + "\n")
    return file


def test_the_exception_in_a_json_log_is_returned_and_not_a_later_event(tmp_path: Path) -> None:
    crash = json.dumps({"level": "error", "event": "died", "exception": "Traceback ...\n  at\nValueError: no luck"})

    assert last_error(log(tmp_path, crash, json.dumps({"level": "info", "event": "stopped"}))) == "ValueError: no luck"


def test_an_error_without_an_exception_is_returned_as_its_event(tmp_path: Path) -> None:
    assert last_error(log(tmp_path, json.dumps({"level": "error", "event": "cut off"}))) == "cut off"


def test_the_last_line_of_a_plain_log_is_returned(tmp_path: Path) -> None:
    assert last_error(log(tmp_path, "one", "loader: database.url is missing", "")) == "loader: database.url is missing"


def test_a_program_without_a_log_raises_no_error(tmp_path: Path) -> None:
    assert last_error(tmp_path / "absent.log") == "nothing"


def test_an_event_comes_with_its_fields(tmp_path: Path) -> None:
    entry = {
        "timestamp": "2026-03-02T10:00:00Z",
        "level": "error",
        "service": "cleaner",
        "event": "loop_hung",
        "hung_s": 60,
    }

    assert last_error(log(tmp_path, json.dumps(entry))) == "loop_hung (hung_s=60)"
