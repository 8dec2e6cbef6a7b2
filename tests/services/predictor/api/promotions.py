"""Promotions over REST."""

from __future__ import annotations

from typing import Any

import httpx2


def promote(client: httpx2.Client, version: str, **request: Any) -> Any:
    answer = client.post(f"/models/{version}/promote", json=request)
    assert answer.status_code == 200, answer.text
    return answer.json()
