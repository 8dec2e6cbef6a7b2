"""Checks the responses to an attack: every refusal is a problem that says what to do. Pure."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable
from typing import NamedTuple

from tests.attack.attempts import Way
from tests.attack.client import Outcome

# A detail says what to do by an imperative, or by what was expected.
ADVICE = re.compile(
    r"\b(expected|use|send|see|shorten|split|try again|make|makes|must|should|add|check|choose|raise|lists|needs|only"
    r"|correct|flatten|has no parameters|allowed)\b"
)
MEDIA_TYPE = "application/problem+json"
_STATUS_LINE = re.compile(rb"HTTP/1\.1 (\d{3}) [^\r\n]*\r\n")


class Response(NamedTuple):
    status: int
    headers: dict[str, str]
    body: bytes


def responses_in(received: bytes, *, has_bodies: bool = True) -> list[Response]:
    """The complete responses, without 100 Continue."""
    responses = []
    while (line := _STATUS_LINE.match(received)) and b"\r\n\r\n" in received:
        head, _, rest = received.partition(b"\r\n\r\n")
        headers = {
            name.decode("latin-1").lower(): value.decode("latin-1").strip()
            for name, _, value in (each.partition(b":") for each in head.split(b"\r\n")[1:])
        }
        size = int(headers.get("content-length", 0)) if has_bodies else 0
        if len(rest) < size:
            break
        if line[1] != b"100":
            responses.append(Response(int(line[1]), headers, rest[:size]))
        received = rest[size:]
    return responses


def responses_of(outcome: Outcome) -> list[Response]:
    return responses_in(outcome.received, has_bodies=not outcome.attempt.data.startswith(b"HEAD "))


def complaint_about(response: Response, *, has_body: bool = True) -> str | None:
    """What is wrong with a response; None if nothing is."""
    if response.status < 400:
        return None
    if response.status == 500 or response.headers.get("content-type") != MEDIA_TYPE:
        return f"a refusal of type {response.headers.get('content-type')}"
    return _complaint_about_body(response) if has_body else None


def _complaint_about_body(response: Response) -> str | None:
    try:
        problem = json.loads(response.body)
    except ValueError:
        return "a problem that is not JSON"
    if problem.keys() != {"type", "title", "status", "detail", "request_id"}:
        return f"a problem with the fields {sorted(problem)}"
    if problem["status"] != response.status or not problem["type"].startswith("urn:headrace:problem:"):
        return "a problem with another status or type"
    advises = ADVICE.search(problem["detail"]) is not None
    return None if advises else f"a detail that does not say what to do: {problem['detail']!r}"


def complaints(outcomes: Iterable[Outcome]) -> Counter[str]:
    """What is wrong, and how often."""
    counts: Counter[str] = Counter()
    for outcome in outcomes:
        kind = outcome.attempt.kind
        if outcome.is_open:
            counts[f"{kind}: the connection was not ended"] += 1
        responses = responses_of(outcome)
        if not responses and outcome.attempt.way is Way.WHOLE:
            counts[f"{kind}: no response to {outcome.attempt.data[:60]!r}"] += 1
        for response in responses:
            has_body = not outcome.attempt.data.startswith(b"HEAD ")
            if (complaint := complaint_about(response, has_body=has_body)) is not None:
                counts[f"{kind}: {response.status}, {complaint}"] += 1
    return counts


def statuses(outcomes: Iterable[Outcome]) -> Counter[str]:
    """Responses by status."""
    return Counter(str(response.status) for outcome in outcomes for response in responses_of(outcome))
