"""Reads the bodies of requests: JSON, or a form with files and `payload_json`."""

from __future__ import annotations

import json
import mimetypes
import re

from aiohttp import BodyPartReader, web
from aiohttp.multipart import MultipartReader

from simulator.discord.errors import FILE_TOO_LARGE, INVALID_JSON, ApiError
from simulator.discord.message_rules import LARGEST_UPLOAD_BYTES, Upload

FILE_FIELD = re.compile(r"files\[(\d{1,3})\]")
UNSAFE = re.compile(r"[^\w.-]+")


async def read_body(request: web.Request) -> tuple[object, tuple[Upload, ...]]:
    """The decoded JSON (None without a body) and the files. Raises ApiError."""
    if request.content_type.startswith("multipart/"):
        try:
            return await _read_form(await request.multipart())
        except (ValueError, UnicodeDecodeError) as error:
            raise ApiError(INVALID_JSON) from error
    body = await request.read()
    return (_decoded(body) if body else None), ()


async def _read_form(form: MultipartReader) -> tuple[object, tuple[Upload, ...]]:
    content: object = None
    uploads = []
    size = 0
    while (part := await form.next()) is not None:
        if not isinstance(part, BodyPartReader):
            continue
        data = bytes(await part.read(decode=True))
        size += len(data)
        if size > 2 * LARGEST_UPLOAD_BYTES:
            raise ApiError(FILE_TOO_LARGE)
        if part.name == "payload_json":
            content = _decoded(data)
        elif (match := FILE_FIELD.fullmatch(part.name or "")) is not None:
            uploads.append(_upload(int(match[1]), part.filename or "", data))
    return content, tuple(uploads)


def _upload(number: int, filename: str, data: bytes) -> Upload:
    # Discord replaces what is unsafe in an address.
    name = UNSAFE.sub("_", filename)[-200:] or "unknown"
    content_type = mimetypes.guess_type(name)[0] or "application/octet-stream"
    return Upload(number, name, content_type, data)


def _decoded(body: bytes) -> object:
    try:
        content: object = json.loads(body)
        # What cannot be sent again is not valid: a lone surrogate, an infinite number.
        json.dumps(content, ensure_ascii=False, allow_nan=False).encode()
    except (ValueError, RecursionError) as error:
        raise ApiError(INVALID_JSON) from error
    return content
