"""The slots of real service processes: claimed at the start, kept after a crash, given up when another takes them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from socket import gethostname
from typing import Any
from uuid import uuid4

import httpx2
import psycopg
import pytest

from headrace.database.access import topics_of
from headrace.database.embedded import OWNER, EmbeddedPostgres
from headrace.run.simulation import free_port
from shared.broker.postgres.broker import PostgresBroker
from shared.ops.tables import slots
from shared.ops.tables.slots import Holder
from shared.runtime.process.slot import FOLDER_ID, folder_id
from shared.settings.sections import Settings
from tests.faults.faulty_proxies import FaultyProxies, is_postgres_commit
from tests.shared.runtime.api.admin_apps import FILE_TOKEN, auth_headers, write_token_file
from tests.waiting import DEADLINE_S, wait_until

pytestmark = pytest.mark.slow
Database = psycopg.Connection[tuple[Any, ...]]
Process = subprocess.Popen[str]
Start = Callable[..., Process]


@pytest.fixture
def start(tmp_path: Path, postgres: EmbeddedPostgres, database_url: str, repository: Path) -> Iterator[Start]:
    """Starts a service without a slot in its settings, with further variables."""
    processes: list[Process] = []
    create_topics(database_url)
    name = str(psycopg.conninfo.conninfo_to_dict(database_url)["dbname"])
    environment = {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(repository),
        "HEADRACE_DATA_DIR": str(tmp_path),
        "HEADRACE_DATABASE__URL": postgres.url(database=name),
        "HEADRACE_DATABASE__PASSWORD_FILE": str(postgres.password_file(OWNER)),
        "HEADRACE_ADMIN__TOKEN_FILE": str(write_token_file(tmp_path)),
    }

    def start(service: str = "cleaner", **more: str) -> Process:
        command = [sys.executable, "-m", f"services.{service}"]
        processes.append(
            subprocess.Popen(command, cwd=tmp_path, env=environment | more, stderr=subprocess.PIPE, text=True)
        )
        return processes[-1]

    yield start
    for process in processes:
        process.kill()
        process.communicate()


def create_topics(url: str) -> None:
    with closing(PostgresBroker(url)) as broker:
        broker.ensure_topics(topics_of(Settings()))


def replicas(database: Database) -> dict[int, str]:
    """The name of each process's replica."""
    return dict(database.execute("SELECT pid, replica FROM ops.replicas").fetchall())


def end_of(process: Process) -> tuple[int, str]:
    _, errors = process.communicate(timeout=DEADLINE_S)
    return process.returncode, errors


def test_replicas_on_one_host_have_different_slots(start: Start, database: Database) -> None:
    both = [start(), start()]

    wait_until(lambda: len(replicas(database)) == 2)

    assert {replicas(database)[process.pid] for process in both} == {f"{gethostname()}-0", f"{gethostname()}-1"}


def test_a_replica_that_was_killed_starts_again_with_its_slot(start: Start, database: Database) -> None:
    first = start()
    wait_until(lambda: first.pid in replicas(database))
    other = start()
    wait_until(lambda: other.pid in replicas(database))

    first.kill()
    first.wait()
    again = start()

    wait_until(lambda: again.pid in replicas(database))
    assert replicas(database)[again.pid] == f"{gethostname()}-0"


def test_a_replica_that_stops_frees_its_slot(start: Start, database: Database) -> None:
    process = start()
    wait_until(lambda: process.pid in replicas(database))

    process.terminate()

    assert end_of(process)[0] == 0
    assert database.execute("SELECT FROM ops.slots").rowcount == 0


def test_a_replica_whose_slot_was_taken_ends(start: Start, database: Database) -> None:
    process = start()
    wait_until(lambda: process.pid in replicas(database))

    slots.take(database, Holder("cleaner", "elsewhere", uuid4(), {}), "0")

    status, errors = end_of(process)
    assert status == 1
    assert "another process has taken slot '0' of the cleaner" in errors


def test_a_replica_waits_for_the_database_and_answers_meanwhile(
    start: Start, postgres: EmbeddedPostgres, database: Database
) -> None:
    admin, port = free_port(), free_port()
    name = database.info.dbname
    process = start(
        HEADRACE_ADMIN__PORT=str(admin), HEADRACE_DATABASE__URL=f"postgresql://{OWNER}@127.0.0.1:{port}/{name}"
    )

    def cause() -> str:
        answer = httpx2.get(f"http://127.0.0.1:{admin}/readyz", headers=auth_headers(FILE_TOKEN))
        return answer.text if answer.status_code == 503 else ""

    assert "waiting for a slot: the database is unavailable" in wait_until(cause, forgive=httpx2.TransportError)
    assert httpx2.get(f"http://127.0.0.1:{admin}/livez").status_code == 200
    proxies = FaultyProxies()
    try:
        proxies.open(postgres.socket_dir / ".s.PGSQL.5432", is_postgres_commit, port)
        wait_until(lambda: process.pid in replicas(database))
        process.terminate()
        assert end_of(process)[0] == 0
    finally:
        proxies.close()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_the_wait_for_the_database(start: Start, number: signal.Signals) -> None:
    admin = free_port()
    process = start(
        HEADRACE_ADMIN__PORT=str(admin), HEADRACE_DATABASE__URL=f"postgresql://{OWNER}@127.0.0.1:{free_port()}/headrace"
    )
    wait_until(lambda: httpx2.get(f"http://127.0.0.1:{admin}/livez").is_success, forgive=httpx2.TransportError)

    process.send_signal(number)

    assert end_of(process)[0] == 0


def test_a_replica_waits_for_the_schema(start: Start, database: Database) -> None:
    admin = free_port()
    database.execute("ALTER TABLE ops.slots RENAME TO slots_of_later")
    process = start(HEADRACE_ADMIN__PORT=str(admin))
    wait_until(
        lambda: (
            "run `headrace migrate`"
            in httpx2.get(f"http://127.0.0.1:{admin}/readyz", headers=auth_headers(FILE_TOKEN)).text
        ),
        forgive=httpx2.TransportError,
    )

    database.execute("ALTER TABLE ops.slots_of_later RENAME TO slots")

    wait_until(lambda: process.pid in replicas(database))


def test_replicas_with_different_folders_do_not_start(start: Start, database: Database) -> None:
    other = Holder("loader", "elsewhere", uuid4(), {"export": str(uuid4())})
    slots.take(database, other, "7", lease_s=1000)

    status, errors = end_of(start("loader"))

    assert status == 2
    assert "a replica on elsewhere has another export folder than this one" in errors
    assert database.execute("SELECT slot FROM ops.slots").fetchall() == [("7",)]


def test_a_folder_is_identified_wherever_it_is_mounted(tmp_path: Path) -> None:
    first = folder_id(tmp_path / "a")
    (tmp_path / "a").rename(tmp_path / "b")

    assert folder_id(tmp_path / "b") == first != folder_id(tmp_path / "a")
    assert [file.name for file in (tmp_path / "b").iterdir()] == [FOLDER_ID]
