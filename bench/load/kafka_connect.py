"""Measures Kafka Connect with the JDBC sink of Debezium: one worker, one task, upserts on the record's key.

The schema of the JSON is given to the converter (`schema.content`), the nested session is flattened, and the empty list
of entries is dropped, because a JDBC sink knows no lists.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import psycopg

from bench.load.records import content_of
from bench.load.site import LoadCost, LoadSite, TargetDatabase, free_port
from bench.scale_site import FailedMeasurement, wait_until
from shared.topics import CLEAN

POM = Path(__file__).with_name("connect.xml")
BATCH_RECORDS = 2000
TABLE = """
CREATE TABLE events (
    event_key text PRIMARY KEY, kind text, source text, known_at text, document_hash text, session_session_key text,
    session_date text, session_venue integer, number integer, scheduled_at text, distance_m integer
)
"""
_SESSION = {"session_key": "string", "date": "string", "venue": "int32"}
_CARD = {
    "kind": "string",
    "source": "string",
    "event_key": "string",
    "known_at": "string",
    "document_hash": "string",
    "session": _SESSION,
    "number": "int32",
    "scheduled_at": "string",
    "distance_m": "int32",
}


def fetch_connect(folder: Path) -> Path:
    """The folder of the jars. Raises FailedMeasurement if they cannot be fetched."""
    jars = folder / "connect-jars"
    if not jars.is_dir():
        if not shutil.which("mvn"):
            raise FailedMeasurement("mvn not found")
        incomplete = jars.with_suffix(".half")
        fetch = ["mvn", "-q", "-B", "-f", str(POM), "dependency:copy-dependencies", f"-DoutputDirectory={incomplete}"]
        result = subprocess.run(fetch, check=False, capture_output=True, text=True)
        if result.returncode:
            raise FailedMeasurement(f"Maven could not fetch the jars: {result.stdout.strip()[-300:]}")
        incomplete.rename(jars)
    return jars


def measure_connect(site: LoadSite, jars: Path) -> LoadCost:
    with site.database() as database:
        with psycopg.connect(database.url, autocommit=True) as owner:
            owner.execute(TABLE)
        port = free_port()
        with _running(site, database, jars, port) as process:
            wait_until(lambda: is_running(port) or not process.is_running(), "Kafka Connect to start")
            query = "SELECT count(*), coalesce(sum(distance_m), 0) FROM events"
            try:
                return site.measure(database, [process], query, content_of(site.records))
            except FailedMeasurement as error:
                raise FailedMeasurement(f"{error}; {last_error(database.place / 'log')}") from error


def is_running(port: int) -> bool:
    """Whether the task of the sink runs."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/connectors/sink/status", timeout=5) as answer:
            tasks = json.load(answer)["tasks"]
    except (urllib.error.URLError, OSError):
        return False
    return bool(tasks) and tasks[0]["state"] in {"RUNNING", "FAILED"}


def last_error(log: Path) -> str:
    lines = [line for line in log.read_text(errors="replace").splitlines() if "ERROR" in line or "Caused by" in line]
    return lines[-1][:400] if lines else "no error in its log"


@contextmanager
def _running(site: LoadSite, database: TargetDatabase, jars: Path, port: int) -> Iterator[psutil.Process]:
    worker, sink = database.place / "worker.properties", database.place / "sink.json"
    worker.write_text("".join(f"{name}={value}\n" for name, value in _worker(site, database, port).items()))
    sink.write_text(json.dumps({"name": "sink", "config": _sink(database)}))
    command = ["java", "-Xmx1g", "-cp", f"{jars}/*", "org.apache.kafka.connect.cli.ConnectStandalone"]
    with (database.place / "log").open("wb") as out:
        process = subprocess.Popen(
            [*command, str(worker), str(sink)], env=dict(os.environ), stdout=out, stderr=subprocess.STDOUT
        )
        try:
            yield psutil.Process(process.pid)
        finally:
            process.kill()
            process.wait()


def _worker(site: LoadSite, database: TargetDatabase, port: int) -> dict[str, str]:
    return {
        "bootstrap.servers": site.kafka.address,
        "offset.storage.file.filename": str(database.place / "offsets"),
        "listeners": f"HTTP://127.0.0.1:{port}",
        "key.converter": "org.apache.kafka.connect.storage.StringConverter",
        "value.converter": "org.apache.kafka.connect.json.JsonConverter",
        "value.converter.schemas.enable": "true",
        "value.converter.schema.content": json.dumps(_schema(_CARD)),
        "connector.client.config.override.policy": "All",
        "consumer.isolation.level": "read_committed",
    }


def _sink(database: TargetDatabase) -> dict[str, str]:
    return {
        "connector.class": "io.debezium.connector.jdbc.JdbcSinkConnector",
        "tasks.max": "1",
        "topics": CLEAN,
        "connection.url": f"jdbc:postgresql://127.0.0.1:{database.port}/{database.name}?reWriteBatchedInserts=true",
        "connection.username": database.user,
        "connection.password": database.password,
        "insert.mode": "upsert",
        "primary.key.mode": "record_value",
        "primary.key.fields": "event_key",
        "collection.name.format": "events",
        "schema.evolution": "none",
        "batch.size": str(BATCH_RECORDS),
        "use.reduction.buffer": "true",
        "consumer.override.auto.offset.reset": "earliest",
        "consumer.override.max.poll.records": str(BATCH_RECORDS),
        "transforms": "flat",
        "transforms.flat.type": "org.apache.kafka.connect.transforms.Flatten$Value",
        "transforms.flat.delimiter": "_",
    }


def _schema(fields: dict[str, object], name: str | None = None) -> dict[str, object]:
    described = [
        _schema(kind, field) if isinstance(kind, dict) else {"field": field, "type": kind, "optional": True}
        for field, kind in fields.items()
    ]
    return {"type": "struct", "fields": described, "optional": False} | ({"field": name} if name else {})
