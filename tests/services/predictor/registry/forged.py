"""Models whose content was changed, but whose checksums fit."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import orjson

from services.predictor.registry.model_files import MODEL, WEIGHTS


def rewritten(models: Path, version: str, weights: bytes | None = None, **changed: Any) -> str:
    """A model as somebody would forge it who knows the format: every checksum fits what it holds."""
    body = orjson.loads((models / version / MODEL).read_bytes()) | changed
    if weights is not None:
        (models / version / WEIGHTS).write_bytes(weights)
        body["weights_sha256"] = hashlib.sha256(weights).hexdigest()
    content = {name: value for name, value in body.items() if name not in {"version", "last_day"}}
    digest = hashlib.sha256(orjson.dumps(content, option=orjson.OPT_SORT_KEYS)).hexdigest()
    forged = f"{version[:8]}-{digest[:8]}"
    (models / version / MODEL).write_bytes(orjson.dumps(body | {"version": forged}))
    (models / version).rename(models / forged)
    return forged
