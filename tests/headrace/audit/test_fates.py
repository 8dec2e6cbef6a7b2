"""Every fate there is, met by a real run: of two days, of which one has no card, with pages that say nothing or are
none."""

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
from tests.headrace.audit.pipeline import counts, edit, findings, ids_in, look_twice, without
from tests.headrace.runs import DAYS, RACES, document, run_once, write_archive

pytestmark = pytest.mark.slow
BASE_TABLES = 9
LISTED, BARE = DAYS
BROKEN = 2
"""Of the events of the listed day: the first says nothing, the second's result is of no shape, and one has no key."""


def rewrite(archive: Path, feed: str, change: Callable[[list[dict[str, Any]]], None]) -> None:
    path = document(archive, feed, LISTED)
    page = json.loads(gzip.decompress(path.read_bytes()))
    change(page[feed])
    path.write_bytes(gzip.compress(json.dumps(page).encode(), mtime=0))


def blank(preview: dict[str, Any]) -> None:
    keep = ("race_date", "race_stadium_number", "race_number", "boats")
    preview |= {name: None for name in preview if name not in keep}
    for boat in preview["boats"].values():
        boat |= {name: None for name in boat if name != "racer_boat_number"}


def break_results(results: list[dict[str, Any]]) -> None:
    results[1]["boats"] = "six of them"
    results.append({"race_date": LISTED.isoformat(), "race_number": 3})


@pytest.fixture(scope="module")
def met(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AuditTarget]:
    archive = write_archive(tmp_path_factory.mktemp("recorded"))
    document(archive, "programs", BARE).unlink()
    rewrite(archive, "previews", lambda previews: blank(previews[0]))
    rewrite(archive, "results", break_results)
    data_dir = tmp_path_factory.mktemp("met") / "data"
    run_once(archive, data_dir)
    with (
        open_database(Settings(data_dir=data_dir)) as access,
        access.connect() as connection,
        closing(PostgresBroker(access.owner().conninfo())) as broker,
    ):
        yield AuditTarget(connection, broker, data_dir / "archive", {"boatrace": load_source("boatrace")})


def test_each_has_the_fate_it_met_and_the_sums_close(met: AuditTarget) -> None:
    look = look_twice(met)

    assert look.findings == []
    assert counts(look) == {"loaded": 3 * RACES - BROKEN + BASE_TABLES, "parked": 2 * RACES, "filtered": 1, "dead": 2}
    assert {fate.why.split(":")[0] for _, fate in look.fates.values() if fate.class_ == "dead"} == {
        "cleaner",
        "fetcher",
    }
    assert [fate.why for _, fate in look.fates.values() if fate.class_ == "filtered"] == ["nothing observed yet"]


def test_what_is_taken_out_of_its_place_is_missing_there(met: AuditTarget) -> None:
    """Last in this module: it damages the run."""
    connection: psycopg.Connection[Any] = met.connection
    fetcher, cleaner = dead_letter_topic("fetcher"), dead_letter_topic("cleaner")
    connection.execute(
        "DELETE FROM facts.parked WHERE record_id = (SELECT min(record_id::text)::uuid FROM facts.parked)"
    )
    connection.execute("DELETE FROM facts.dead_letters")
    assert {each for each in findings(met) if "dlq" in each[1]} == {
        ("missing", f"{topic} -> facts.dead_letters") for topic in (fetcher, cleaner)
    }

    for topic in (fetcher, cleaner):
        edit(connection, topic, without(ids_in(connection, topic)[0]))

    assert findings(met) == {
        ("missing", "clean-events -> facts"),
        ("missing", f"archive -> {fetcher}"),
        ("missing", "raw-events -> clean-events"),
        ("hole", fetcher),
        ("hole", cleaner),
    }
