"""The content of log lines, and the secrets that they never contain. Each test reads the stderr of a real process."""

from __future__ import annotations

import io
import json
import logging
import subprocess
import sys
from datetime import datetime, timedelta
from typing import Any

import pytest

from shared.logs import REPEAT_S, DeduplicatingHandler, mask_secrets, mask_text


def log_lines_of(code: str) -> list[dict[str, Any]]:
    script = f"import logging, structlog\nfrom shared.logs import configure\nlog = structlog.get_logger('test')\n{code}"
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert result.stdout == ""
    return [json.loads(line) for line in result.stderr.splitlines()]


def test_a_line_has_timestamp_event_level_service_and_fields() -> None:
    (line,) = log_lines_of(
        "configure('loader')\nlog.warning('dead letter', topic='t', partition=1, offset=2, event_id='e')"
    )

    assert datetime.fromisoformat(line.pop("timestamp")).utcoffset() == timedelta(0)
    assert line == {
        "event": "dead letter",
        "level": "warning",
        "service": "loader",
        "topic": "t",
        "partition": 1,
        "offset": 2,
        "event_id": "e",
    }


def test_bound_context_is_on_every_line() -> None:
    (line,) = log_lines_of(
        "configure('loader')\nwith structlog.contextvars.bound_contextvars(topic='t', offset=7):\n    log.info('x')"
    )

    assert (line["topic"], line["offset"]) == ("t", 7)


def test_libraries_log_in_the_same_way() -> None:
    (line,) = log_lines_of("configure('loader')\nlogging.getLogger('uvicorn.error').warning('port %d', 80)")

    assert (line["event"], line["level"], line["logger"]) == ("port 80", "warning", "uvicorn.error")
    assert line["service"] == "loader"


def test_a_warning_that_repeats_is_logged_once() -> None:
    lines = log_lines_of(
        "configure('x')\n"
        "for delay_s in (1, 2, 3): log.warning('step_failed', cause='away', delay_s=delay_s)\n"
        "log.warning('step_failed', cause='another')\n"
        "for number in (1, 2): logging.getLogger('kafka.net').error('attempt %d failed', number)\n"
        "for number in (1, 2): log.info('done', number=number)"
    )

    assert [(line["event"], line.get("cause")) for line in lines] == [
        ("step_failed", "away"), ("step_failed", "another"), ("attempt 1 failed", None), ("done", None), ("done", None)
    ]  # fmt: skip


def test_a_warning_that_repeats_is_logged_again_later_with_the_number_of_lines_left_out() -> None:
    stream = io.StringIO()
    handler = DeduplicatingHandler(stream)
    handler.setFormatter(logging.Formatter("%(created)g %(repeated)s", defaults={"repeated": 0}))

    for created_s in (0, 1, 2, 3, REPEAT_S, 100 * REPEAT_S):
        record = logging.LogRecord("kafka", logging.ERROR, "", 0, "lost", (), None)
        record.created = created_s
        handler.handle(record)

    assert stream.getvalue().splitlines() == ["0 0", f"{REPEAT_S:g} 3", f"{100 * REPEAT_S:g} 0"]


def test_events_below_the_level_are_not_logged() -> None:
    lines = log_lines_of("configure('x', 'warning')\nlog.info('a')\nlogging.getLogger('b').info('b')\nlog.warning('c')")

    assert [line["event"] for line in lines] == ["c"]


def test_a_second_configure_does_not_duplicate_lines() -> None:
    assert len(log_lines_of("configure('x')\nconfigure('x')\nlog.info('a')")) == 1


def test_an_exception_is_one_line_without_its_secrets() -> None:
    (line,) = log_lines_of(
        "configure('x')\n"
        "try:\n    raise ValueError('no way to postgresql://me:hunter2@h/d')\n"
        "except ValueError:\n    log.exception('died')"
    )

    assert "ValueError: no way to postgresql://me:***@h/d" in line["exception"]
    assert "Traceback" in line["exception"]
    assert "hunter2" not in json.dumps(line)


def test_any_object_can_be_logged() -> None:
    (line,) = log_lines_of(
        "configure('x')\nimport pathlib\nlog.info('a', path=pathlib.Path('/p'), many={1, 1}, nested={2: b'x'})"
    )

    assert (line["path"], line["many"], line["nested"]) == ("/p", [1], {"2": "b'x'"})


@pytest.mark.parametrize("key", ["password", "admin_token", "client_secret", "webhook_url", "Authorization"])
def test_values_under_secret_keys_are_masked(key: str) -> None:
    assert mask_secrets(None, "", {key: "hunter2", "nested": [{key: "hunter2"}]}) == {
        key: "***",
        "nested": [{key: "***"}],
    }


def test_the_path_of_a_secrets_file_is_not_masked() -> None:
    assert mask_secrets(None, "", {"token_file": "/run/token"}) == {"token_file": "/run/token"}


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("at postgresql://me:hun:ter@2@h/d", None),
        ("kafka://me:hunter2@h:9092,h2:9092", "kafka://me:***@h:9092,h2:9092"),
        ("host=h password=hunter2 user=u", "host=h password=*** user=u"),
        ("password='hunter 2' user=u", "password=*** user=u"),
        (
            "https://discord.com/api/webhooks/12/hun-ter_2?wait=true",
            "https://discord.com/api/webhooks/12/***?wait=true",
        ),
        ("Authorization: Bearer hunter2", "Authorization: Bearer ***"),
        (f"got hr_0123456789ab_{'x-_' * 14}x, why?", "got hr_0123456789ab_***, why?"),
        ("GET http://h/?token=hunter2&day=1", "GET http://h/?token=***&day=1"),
    ],
)
def test_credentials_in_text_are_masked(text: str, masked: str | None) -> None:
    assert "hun" not in mask_text(text)
    if masked is not None:
        assert mask_text(text) == masked


def test_text_without_secrets_is_unchanged() -> None:
    text = "http://127.0.0.1:8080/v1/lag at 12:30@noon, postgresql://me@h/d"

    assert mask_text(text) == text
