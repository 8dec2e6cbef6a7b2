"""Promotions over REST."""

from __future__ import annotations

from typing import Any

import httpx


def promoted(client: httpx.Client, version: str, **wish: Any) -> Any:
    answer = client.post(f"/models/{version}/promote", json=wish)
    assert answer.status_code == 200, answer.text
    return answer.json()
