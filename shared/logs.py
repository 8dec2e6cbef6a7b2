"""Configures logging: one JSON object per line on stderr, for Headrace and its libraries, with secrets masked.

A line has `timestamp` (UTC), `level`, `event` and `service`. A log call about a record also passes `topic`,
`partition`, `offset` and `event_id` under these names.
"""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import Mapping
from typing import Any

import orjson
import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

MASK = "***"
_SECRET_KEY = re.compile(r"password|passwd|token|secret|webhook|authorization", re.IGNORECASE)
# The name of a file that contains a secret is not secret, and operators need it.
_FILE_KEY = re.compile(r"_file$", re.IGNORECASE)
_IN_URL = re.compile(r"(?<=://)([^/\s:@]*):([^\s/]*)@")
_IN_TEXT = re.compile(r"\b((?:\w*password|token|secret)\s*=\s*)('(?:[^'\\]|\\.)*'|[^\s&'\",)]+)", re.IGNORECASE)
_WEBHOOK = re.compile(r"(/api/(?:v\d+/)?webhooks/\d+/)[\w-]+")
_TOKEN = re.compile(r"\b(hr_[0-9a-f]{12}_)[\w-]+")
_BEARER = re.compile(r"(\bBearer\s+)\S+", re.IGNORECASE)


def configure(service: str, level: str = "info") -> None:
    """Send all logs of the process to stderr as JSON. Can be called again; the last call applies."""
    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True, key="timestamp"),
        structlog.stdlib.ExtraAdder(allow=("topic", "partition", "offset", "event_id")),
        _add_service(service),
    ]
    structlog.configure(
        processors=[structlog.stdlib.filter_by_level, *shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(sys.stderr)
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
    for noisy in ("httpx", "httpcore", "uvicorn", "discord", "kafka"):
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
