"""Records of a real run with every fate: one of its days has no card, and some of its slices are empty or invalid."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg
import pytest

from headrace.audit.audit_pass import AuditTarget
from headrace.database.access import open_database
from services.fetcher.sources.yaml_file import load_source
from shared.broker.postgres.broker import PostgresBroker
from shared.settings.sections import Settings
from shared.topics import dead_letter_topic
from tests.headrace.audit.pipeline import audit_now, counts, edit, findings, ids_in, without
from tests.headrace.runs import DAYS, RACES, document, run_once, write_archive

pytestmark = pytest.mark.slow
REFERENCE_TABLES = 9
LISTED, WITHOUT_CARD = DAYS
NOT_LOADED = 2
"""Records of the listed day that are not loaded: the first preview is empty, the second result is invalid. A result
without a key is added."""


def rewrite(archive: Path, feed: str, change: Callable[[list[dict[str, Any]]], None]) -> None:
    path = document(archive, feed, LISTED)
    page = json.loads(gzip.decompress(path.read_bytes()))
    change(page[feed])
    path.write_bytes(gzip.compress(json.dumps(page).encode(), mtime=0))


def clear_preview(preview: dict[str, Any]) -> None:
    keep = ("race_date", "race_stadium_number", "race_number", "boats")
    preview |= {name: None for name in preview if name not in keep}
    for boat in preview["boats"].values():
        boat |= {name: None for name in boat if name != "racer_boat_number"}


def break_results(results: list[dict[str, Any]]) -> None:
    results[1]["boats"] = "six of them"
    results.append({"race_date": LISTED.isoformat(), "race_number": 3})


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AuditTarget]:
    archive = write_archive(tmp_path_factory.mktemp("recorded"))
    document(archive, "programs", WITHOUT_CARD).unlink()
    rewrite(archive, "previews", lambda previews: clear_preview(previews[0]))
    rewrite(archive, "results", break_results)
    data_dir = tmp_path_factory.mktemp("fates") / "data"
    run_once(archive, data_dir)
    with (
        open_database(Settings(data_dir=data_dir)) as access,
        access.connect() as connection,
        closing(PostgresBroker(access.owner().conninfo())) as broker,
    ):
        yield AuditTarget(connection, broker, data_dir / "archive", {"boatrace": load_source("boatrace")})


def test_each_record_has_its_fate_and_the_counts_add_up(target: AuditTarget) -> None:
    result = audit_now(target)

    assert result.findings == []
    assert counts(result) == {
        "loaded": 3 * RACES - NOT_LOADED + REFERENCE_TABLES,
        "parked": 2 * RACES,
        "filtered": 1,
        "dead": 2,
    }
    assert {fate.why.split(":")[0] for _, fate in result.fates.values() if fate.class_ == "dead"} == {
        "cleaner",
        "fetcher",
    }
    assert [fate.why for _, fate in result.fates.values() if fate.class_ == "filtered"] == ["nothing observed yet"]


def test_records_removed_from_their_place_are_missing_there(target: AuditTarget) -> None:
    """The last test of this module, because it damages the run."""
    connection: psycopg.Connection[Any] = target.connection
    fetcher, cleaner = dead_letter_topic("fetcher"), dead_letter_topic("cleaner")
    connection.execute(
        "DELETE FROM facts.parked WHERE record_id = (SELECT min(record_id::text)::uuid FROM facts.parked)"
    )
    connection.execute("DELETE FROM facts.dead_letters")
    assert {each for each in findings(target) if "dlq" in each[1]} == {
        ("missing", f"{topic} -> facts.dead_letters") for topic in (fetcher, cleaner)
    }

    for topic in (fetcher, cleaner):
        edit(connection, topic, without(ids_in(connection, topic)[0]))

    assert findings(target) == {
        ("missing", "clean-events -> facts"),
        ("missing", f"archive -> {fetcher}"),
        ("missing", "raw-events -> clean-events"),
        ("hole", fetcher),
        ("hole", cleaner),
    }
