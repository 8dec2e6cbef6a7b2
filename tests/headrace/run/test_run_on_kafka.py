"""`headrace run --broker kafka://...`: the same pipeline, on a real Kafka."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from shared.broker.kafka.broker import KafkaBroker
from shared.errors import ConfigError
from shared.settings.sections import KafkaSettings
from shared.topics import RAW
from tests.headrace.runs import run_once, tables, write_archive
from tests.kafka.use import KafkaInUse

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_archive(tmp_path_factory.mktemp("archive"))


@pytest.fixture(scope="module")
def url(kafka: KafkaInUse) -> Iterator[str]:
    url = f"kafka://{kafka.bootstrap}"
    with kafka.empty():
        with closing(KafkaBroker(url, KafkaSettings(), "")) as broker:
            try:
                broker.partitions(RAW)
            except ConfigError:
                yield url
                return
        pytest.skip(f"the Kafka at {kafka.bootstrap} has the topic {RAW} already: set HEADRACE_KAFKA to one without")


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("kafka-run") / "data"


@pytest.fixture(scope="module")
def first_run(archive: Path, data_dir: Path, url: str) -> dict[str, Any]:
    return run_once(archive, data_dir, "--broker", url)


def headrace(*arguments: str) -> str:
    return subprocess.run(
        [sys.executable, "-m", "headrace", *arguments], capture_output=True, text=True, check=True
    ).stdout


def test_the_rows_are_those_of_the_embedded_log(
    first_run: dict[str, Any], archive: Path, data_dir: Path, tmp_path: Path
) -> None:
    embedded = run_once(archive, tmp_path / "embedded")

    assert tables(data_dir) == tables(tmp_path / "embedded")
    assert first_run["views"] == embedded["views"]
    # Records are counted, not offsets: those have gaps on Kafka.
    assert first_run["topics"] == embedded["topics"]
    assert {name: stage["records"] for name, stage in first_run["stages"].items()} == {
        name: stage["records"] for name, stage in embedded["stages"].items()
    }


def test_the_same_span_again_changes_nothing(
    first_run: dict[str, Any], archive: Path, data_dir: Path, url: str
) -> None:
    before = tables(data_dir)

    again = run_once(archive, data_dir, "--broker", url)

    assert tables(data_dir) == before
    assert {(counts["in"], counts["out"]) for counts in again["topics"].values()} == {(0, 0)}


def test_a_new_database_is_filled_from_what_kafka_holds(
    first_run: dict[str, Any], archive: Path, data_dir: Path, url: str, tmp_path: Path
) -> None:
    """Nothing is fetched again: the fetcher's cursors lie in Kafka, the loader's positions in the database."""
    anew = run_once(archive, tmp_path / "anew", "--broker", url)

    assert tables(tmp_path / "anew") == tables(data_dir)
    assert (anew["topics"]["raw-events"]["in"], anew["stages"]["fetcher"]["records"]) == (0, 0)
    assert anew["stages"]["loader"]["records"] == first_run["stages"]["loader"]["records"]


def test_topics_are_listed_with_their_records_counted(first_run: dict[str, Any], data_dir: Path, url: str) -> None:
    listed = json.loads(headrace("topics", "--output", "json", "--data-dir", str(data_dir), "--broker", url))

    raw = {row["topic"]: row for row in listed}[RAW]
    assert raw["records"] == first_run["topics"][RAW]["records"]
    assert raw["end"] > raw["records"]


def test_a_record_is_found_by_tail_and_by_its_place(first_run: dict[str, Any], data_dir: Path, url: str) -> None:
    where = ("--data-dir", str(data_dir), "--broker", url)
    records = [json.loads(line) for line in headrace("topics", "tail", RAW, "-n", "5", *where).splitlines()]

    assert len(records) == 5
    assert json.loads(headrace("topics", "get", *records[-1]["place"].split("/"), *where)) == records[-1]


def test_an_offset_without_a_record_is_explained(first_run: dict[str, Any], data_dir: Path, url: str) -> None:
    where = ("--data-dir", str(data_dir), "--broker", url)
    [newest] = [json.loads(line) for line in headrace("topics", "tail", RAW, "-n", "1", *where).splitlines()]
    _, partition, offset = newest["place"].split("/")

    command = [sys.executable, "-m", "headrace", "topics", "get", RAW, partition, str(int(offset) + 1), *where]
    done = subprocess.run(command, capture_output=True, text=True, check=False)

    assert done.returncode == 2
    assert "holds no record: the offset is a transaction marker" in done.stderr
