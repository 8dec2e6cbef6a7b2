"""A recorded live day is served at the times of its manifest."""

from __future__ import annotations

import gzip
import hashlib
import json
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx2
import pytest

from simulator.__main__ import announce_recorded_day
from simulator.recorded import RecordedDay
from simulator.server import FailureInjection, SimulatorServer
from tests.serving import serving
from tests.simulator.conftest import SettableClock

MIDNIGHT = datetime(2031, 5, 3, 15, tzinfo=UTC)
"""The beginning of 2031-05-04 in Japan."""
MINUTE = timedelta(minutes=1)
VERSIONS = [
    # minutes from midnight, feed, day, body
    (-300, "cards", "2031-05-03", b'{"cards":["yesterday"]}'),
    (10, "cards", "2031-05-04", b'{"cards":["first"]}'),
    (40, "cards", "2031-05-04", b'{"cards":["second"]}'),
    (60, "ends", "2031-05-04", b'{"ends":[]}'),
]
TODAY, DATED, YESTERDAY = "/cards/v2/today.json", "/cards/v2/2031/20310504.json", "/cards/v2/2031/20310503.json"


def write_day(folder: Path, **changes: Any) -> Path:
    """A recorded day whose manifest is not in order. `changes`: fields of its first entry."""
    entries = []
    for number, (minutes, feed, day, body) in enumerate(VERSIONS):
        (folder / f"{number}.json.gz").write_bytes(gzip.compress(body))
        at = (MIDNIGHT + minutes * MINUTE).strftime("%Y-%m-%dT%H:%M:%SZ")
        hash_ = hashlib.sha256(body).hexdigest()
        entries.append({"file": f"{number}.json.gz", "feed": feed, "utc": at, "race_date": day, "sha256": hash_})
    manifest = {"versions": [*reversed(entries[1:]), {**entries[0], **changes}]}
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return folder


@pytest.fixture
def client(tmp_path: Path, clock: SettableClock) -> Iterator[httpx2.Client]:
    server = SimulatorServer(("127.0.0.1", 0), RecordedDay(write_day(tmp_path)), clock, FailureInjection(0.0, seed=1))
    with serving(server), httpx2.Client(base_url=server.url, timeout=60) as client:
        yield client


def test_each_version_is_public_from_its_time_on(client: httpx2.Client, clock: SettableClock) -> None:
    answers = {}
    for minutes in (-301, -300, 9, 10, 39, 40, 2000):
        clock.at = MIDNIGHT + minutes * MINUTE
        answers[minutes] = [client.get(path) for path in (TODAY, DATED, YESTERDAY)]

    texts = {
        minutes: [a.text if a.status_code == 200 else a.status_code for a in each] for minutes, each in answers.items()
    }
    yesterday, first, second = (body.decode() for _, feed, _, body in VERSIONS if feed == "cards")
    assert texts == {
        -301: [404, 404, 404],
        -300: [yesterday, 404, yesterday],
        9: [yesterday, 404, yesterday],
        10: [first, first, yesterday],
        39: [first, first, yesterday],
        40: [second, second, yesterday],
        2000: [second, second, yesterday],
    }


def test_a_day_that_is_over_is_announced_with_the_options_that_replay_it(
    tmp_path: Path, clock: SettableClock, capsys: pytest.CaptureFixture[str]
) -> None:
    day = RecordedDay(write_day(tmp_path))
    clock.at = MIDNIGHT + 20 * MINUTE
    announce_recorded_day(day, clock)
    during = capsys.readouterr().out
    clock.at = MIDNIGHT + 61 * MINUTE
    announce_recorded_day(day, clock)
    after = capsys.readouterr().out

    published = "recorded: published from 2031-05-03T10:00:00Z to 2031-05-03T16:00:00Z\n"
    assert during == published
    assert after.startswith(published)
    assert "--clock-start 2031-05-03T10:00:00Z --clock-speed 60 --clock-epoch" in after


def test_a_document_that_did_not_change_is_not_sent_again(client: httpx2.Client, clock: SettableClock) -> None:
    clock.at = MIDNIGHT + 20 * MINUTE
    first = client.get(TODAY)
    tag, at = {"If-None-Match": first.headers["etag"]}, {"If-Modified-Since": first.headers["last-modified"]}
    earlier = {"If-Modified-Since": "Sat, 03 May 2031 15:09:59 GMT"}
    requests = [tag, at, earlier, {"If-None-Match": '"other"'} | at, {"If-Modified-Since": "no time"}]

    before = [client.get(TODAY, headers=headers).status_code for headers in requests]
    clock.at = MIDNIGHT + 40 * MINUTE
    after = [client.get(TODAY, headers=headers).status_code for headers in (tag, at)]

    assert first.headers["last-modified"] == "Sat, 03 May 2031 15:10:00 GMT"
    assert before == [304, 304, 200, 200, 200]
    assert after == [200, 200]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"sha256": "0" * 64}, "does not match the hash"),
        ({"file": "missing.json.gz"}, "missing.json.gz"),
        ({"file": "../0.json.gz"}, "same folder"),
        ({"utc": "2031-05-03T10:00:00"}, "UTC"),
        ({"utc": "noon"}, "manifest"),
        ({"race_date": 5}, "manifest"),
    ],
)
def test_a_day_that_does_not_match_its_manifest_is_refused(
    tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    write_day(tmp_path, **changes)

    with pytest.raises(ValueError, match=message):
        RecordedDay(tmp_path)


def test_a_truncated_file_and_a_folder_without_a_manifest_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"manifest\.json"):
        RecordedDay(tmp_path)
    path = write_day(tmp_path) / "1.json.gz"
    path.write_bytes(path.read_bytes()[:-4])

    with pytest.raises(ValueError, match="truncated"):
        RecordedDay(tmp_path)
