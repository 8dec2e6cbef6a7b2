"""Models whose content was changed, with checksums that match."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import orjson

from services.predictor.registry.model_files import MODEL, WEIGHTS


def forge_model(models: Path, version: str, weights: bytes | None = None, **changes: Any) -> str:
    """Changes a model and all of its checksums; returns the new version."""
    body = orjson.loads((models / version / MODEL).read_bytes()) | changes
    if weights is not None:
        (models / version / WEIGHTS).write_bytes(weights)
        body["weights_sha256"] = hashlib.sha256(weights).hexdigest()
    content = {name: value for name, value in body.items() if name not in {"version", "last_day"}}
    digest = hashlib.sha256(orjson.dumps(content, option=orjson.OPT_SORT_KEYS)).hexdigest()
    forged = f"{version[:8]}-{digest[:8]}"
    (models / version / MODEL).write_bytes(orjson.dumps(body | {"version": forged}))
    (models / version).rename(models / forged)
    return forged
