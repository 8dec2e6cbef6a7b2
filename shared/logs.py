"""Configures logging: one JSON object per line on stderr, for Headrace and its libraries, with secrets masked.

A line has `timestamp` (UTC), `level`, `event` and `service`. A log call about a record also passes `topic`,
`partition`, `offset` and `event_id` under these names. A warning that repeats, for example while a server is
unavailable, is logged every 10 s with the number of lines left out (`repeated`).
"""

from __future__ import annotations

import logging
import math
import re
import sys
from collections.abc import Hashable, Mapping
from typing import Any, TextIO

import orjson
import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

MASK = "***"
REPEAT_S = 10.0
# Fields in which repetitions of one warning may differ.
CHANGING_FIELDS = frozenset({"timestamp", "delay_s"})
_SECRET_KEY = re.compile(r"password|passwd|token|secret|webhook|authorization", re.IGNORECASE)
# The name of a file that contains a secret is not secret, and operators need it.
_FILE_KEY = re.compile(r"_file$", re.IGNORECASE)
_IN_URL = re.compile(r"(?<=://)([^/\s:@]*):([^\s/]*)@")
_IN_TEXT = re.compile(r"\b((?:\w*password|token|secret)\s*=\s*)('(?:[^'\\]|\\.)*'|[^\s&'\",)]+)", re.IGNORECASE)
_WEBHOOK = re.compile(r"(/api/(?:v\d+/)?webhooks/\d+/)[\w-]+")
_TOKEN = re.compile(r"\b(hr_[0-9a-f]{12}_)[\w-]+")
_BEARER = re.compile(r"(\bBearer\s+)\S+", re.IGNORECASE)


class DeduplicatingHandler(logging.StreamHandler[TextIO]):
    """Drops a warning or error that is equal to one of the last REPEAT_S, apart from its changing fields."""

    def __init__(self, stream: TextIO) -> None:
        super().__init__(stream)
        # By content: the time of the last line, and how many were dropped since.
        self._logged: dict[Hashable, tuple[float, int]] = {}
        self._cleaned_s = 0.0

    def emit(self, record: logging.LogRecord) -> None:
        """Called under the handler's lock."""
        if record.levelno >= logging.WARNING:
            dropped = self._count(_content_of(record), record.created)
            if dropped is None:
                return
            if dropped:
                _set_field(record, "repeated", dropped)
        super().emit(record)

    def _count(self, content: Hashable, now_s: float) -> int | None:
        """How many lines were dropped since the last one; None if this one is dropped too."""
        if now_s - self._cleaned_s > REPEAT_S:  # not for each line: there may be thousands of different ones
            self._logged = {key: value for key, value in self._logged.items() if now_s - value[0] < 2 * REPEAT_S}
            self._cleaned_s = now_s
        logged_s, dropped = self._logged.get(content, (-math.inf, 0))
        if now_s - logged_s < REPEAT_S:
            self._logged[content] = (logged_s, dropped + 1)
            return None
        self._logged[content] = (now_s, 0)
        return dropped


def _content_of(record: logging.LogRecord) -> Hashable:
    if isinstance(record.msg, dict):
        fields = ((name, str(value)) for name, value in record.msg.items() if name not in CHANGING_FIELDS)
        return record.name, record.levelno, tuple(sorted(fields))
    # The template, not the text: the library's messages differ in durations and numbers of attempts.
    return record.name, record.levelno, str(record.msg)


def _set_field(record: logging.LogRecord, name: str, value: object) -> None:
    if isinstance(record.msg, dict):
        record.msg[name] = value
    else:
        setattr(record, name, value)


def configure(service: str, level: str = "info") -> None:
    """Send all logs of the process to stderr as JSON. Can be called again; the last call applies."""
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True, key="timestamp"),
        structlog.stdlib.ExtraAdder(allow=("topic", "partition", "offset", "event_id", "repeated")),
        _add_service(service),
    ]
    structlog.configure(
        processors=[structlog.stdlib.filter_by_level, *shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=False,
    )
    handler = DeduplicatingHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[structlog.stdlib.add_logger_name, *shared],
            processors=[
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.format_exc_info,
                mask_secrets,
                structlog.processors.JSONRenderer(serializer=_as_json),
            ],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    # These libraries log every request or every connection event at INFO.
    for noisy in ("httpx2", "httpcore2", "uvicorn", "discord", "kafka"):
        logging.getLogger(noisy).setLevel(max(logging.WARNING, root.level))


def mask_secrets(_logger: WrappedLogger | None, _method: str, event: EventDict) -> EventDict:
    """Mask values under keys that name secrets, and credentials inside any text."""
    return {key: _masked(key, value) for key, value in event.items()}


def mask_text(text: str) -> str:
    """The text with masked passwords in URLs, webhook tokens, Headrace tokens, bearer tokens and password=... pairs."""
    text = _IN_URL.sub(rf"\1:{MASK}@", text)
    text = _IN_TEXT.sub(rf"\1{MASK}", text)
    text = _WEBHOOK.sub(rf"\1{MASK}", text)
    text = _TOKEN.sub(rf"\1{MASK}", text)
    return _BEARER.sub(rf"\1{MASK}", text)


def _masked(key: str, value: Any) -> Any:
    if _SECRET_KEY.search(key) and not _FILE_KEY.search(key):
        return None if value is None else MASK
    if isinstance(value, str):
        return mask_text(value)
    if isinstance(value, Mapping):
        return {str(name): _masked(str(name), inner) for name, inner in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_masked(key, inner) for inner in value]
    if value is None or isinstance(value, bool | int | float):
        return value
    return mask_text(str(value))


def _add_service(service: str) -> Processor:
    def add(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
        event.setdefault("service", service)
        return event

    return add


def _as_json(event: Any, **_options: Any) -> str:
    return orjson.dumps(event, option=orjson.OPT_NON_STR_KEYS).decode()
