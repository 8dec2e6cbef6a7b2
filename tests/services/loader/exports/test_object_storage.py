"""Exports to object storage: a local S3 server, also one that fails."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from datetime import timedelta

import duckdb
import pyarrow.dataset
import pytest
from structlog.testing import capture_logs

from services.loader.exports.manifest import Format
from services.loader.exports.object_storage import ObjectStorageTarget
from services.loader.exports.target import ExportError
from shared.errors import ConfigError
from tests.services.loader.exports.conftest import MakeExport, Store
from tests.services.loader.exports.s3_server import CREDENTIALS, S3Server
from tests.services.loader.facts import DAY, listed, settled
from tests.waiting import wait_until

BOTH: tuple[Format, ...] = ("csv", "parquet")


@pytest.fixture
def s3(monkeypatch: pytest.MonkeyPatch) -> Iterator[S3Server]:
    """A server. Its credentials come from the environment, as in production."""
    for name, value in CREDENTIALS.items():
        monkeypatch.setenv(name, value)
    server = S3Server()
    server.start()
    yield server
    server.stop()


@pytest.fixture
def target(s3: S3Server) -> ObjectStorageTarget:
    return ObjectStorageTarget(f"s3://{s3.bucket}/headrace/", {"endpoint_url": s3.url})


def test_a_day_is_published_corrected_and_cleaned_up_in_object_storage(
    store: Store, make_export: MakeExport, target: ObjectStorageTarget, s3: S3Server
) -> None:
    export = make_export(formats=BOTH, target=target)
    store(listed(), settled())
    export.run()
    first = export.verified_files()
    store(settled(known=30, technique=3))
    export.run()
    export.remove_superseded()

    second = export.verified_files()
    root = f"{s3.bucket}/headrace"
    stored = {name.removeprefix(f"{root}/") for name in s3.files().find(root)}
    fixed = {f"2031-05-06/{table}.csv" for table, _ in second} | {"2031-05-06/manifest.json"}
    assert len(first) == len(second) == 14
    assert export.manifest()["generation"] == 2
    assert stored == {file["path"] for file in export.manifest()["files"]} | fixed
    assert export.rows("events")[0]["technique"] == "3"


def test_a_reader_with_s3_reads_the_files_of_the_manifest(
    store: Store, make_export: MakeExport, target: ObjectStorageTarget, s3: S3Server
) -> None:
    export = make_export(formats=("parquet",), target=target)
    store(listed(), settled())
    export.run()

    [events] = [file["path"] for file in export.manifest()["files"] if file["table"] == "events"]
    table = pyarrow.dataset.dataset(f"{s3.bucket}/headrace/{events}", filesystem=s3.files()).to_table()
    with duckdb.connect() as duck:
        duck.register("events", table)
        assert duck.execute("select event_key, technique from events").fetchall() == [("river:2031-05-06:07:01", 1)]


def test_a_day_that_the_server_refuses_does_not_stop_others_and_is_retried(
    store: Store, make_export: MakeExport, target: ObjectStorageTarget, s3: S3Server
) -> None:
    next_day = DAY + timedelta(days=1)
    export = make_export(target=target)
    store(listed(), settled(), listed(day=next_day), settled(day=next_day))
    s3.failing_paths = {"2031-05-06/by-hash/outcomes"}

    with capture_logs() as logs:
        export.run(2)

    status = export.exporter.status()
    assert (status["exports_written"], status["exports_refused"]) == (1, 1)
    assert "Service Unavailable" in status["exports_error"]
    assert [(entry["event"], entry["day"]) for entry in logs] == [("export_write_failed", DAY)]
    assert "made-up-secret" not in f"{logs}{status}"
    assert "AKIAEXAMPLE" not in f"{logs}{status}"
    assert target.read("2031-05-06/manifest.json") is None
    assert len(export.rows("events", next_day)) == 1
    s3.failing_paths = set()
    export.run(1)
    assert len(export.verified_files()) == 7
    assert export.exporter.status()["exports_refused"] == 0


def test_a_short_failure_of_the_server_is_retried_within_the_request(target: ObjectStorageTarget, s3: S3Server) -> None:
    s3.failing_paths = {"manifest"}
    writer = threading.Thread(target=target.write, args=(b"{}", "manifest.json"))
    writer.start()
    wait_until(lambda: any("manifest" in request for request in s3.requests))
    s3.failing_paths = set()
    writer.join()

    assert target.read("manifest.json") == b"{}"


def test_a_failed_removal_is_tried_again(
    store: Store, make_export: MakeExport, target: ObjectStorageTarget, s3: S3Server
) -> None:
    export = make_export(target=target)
    store(listed(), settled())
    export.run()
    store(settled(known=30, technique=3))
    export.run()
    s3.failing_paths = {"by-hash/events"}
    with capture_logs() as logs:
        export.remove_superseded()
    s3.failing_paths = set()

    export.remove_superseded()

    assert [entry["event"] for entry in logs] == ["exports_removal_failed"]
    assert len(target.names("2031-05-06/by-hash")) == 7
    assert target.names(".pending") == []


def test_a_server_that_is_not_there_is_an_error_of_the_export(s3: S3Server, target: ObjectStorageTarget) -> None:
    s3.stop()

    with pytest.raises(ExportError, match=r"connect|Connect"):
        target.write(b"", "manifest.json")


def test_an_unknown_protocol_is_an_error_of_the_settings() -> None:
    with pytest.raises(ConfigError, match=r"^loader\.exports_target nowhere://bucket: "):
        ObjectStorageTarget("nowhere://bucket", {})
