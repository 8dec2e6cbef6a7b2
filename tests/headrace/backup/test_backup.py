"""`headrace backup` and `headrace restore`: what a backup holds, and what it restores."""

from __future__ import annotations

import json
import os
import stat
import tarfile
from pathlib import Path

import psycopg
import pytest

from headrace.backup.creation import create_backup
from headrace.backup.files import DataFolders, merged_index, without_open_line
from headrace.backup.manifest import SCHEMAS
from headrace.backup.verification import read_manifest
from headrace.database.access import access_of
from headrace.database.interrupted_restore import REPLACED
from services.fetcher.archive.store import DocumentArchive
from services.fetcher.archive.verify import Verification
from tests.headrace.backup.conftest import Installation, document_of

pytestmark = pytest.mark.slow
TABLES = ("facts.events", "facts.transactions", "facts.dead_letters", "ops.audit", "broker.topics", "broker.partitions")


def content_of(installation: Installation) -> dict[str, list[tuple[object, ...]]]:
    return {table: installation.rows(f"SELECT t::text FROM {table} t ORDER BY 1") for table in TABLES}


def name_of(installation: Installation) -> str:
    return str(installation.rows("SELECT current_database()")[0][0])


def grants_of(installation: Installation) -> list[tuple[object, ...]]:
    return installation.rows(
        "SELECT n.nspname, c.relname, a.grantee::regrole::text, a.privilege_type FROM pg_class c"
        " JOIN pg_namespace n ON n.oid = c.relnamespace, aclexplode(c.relacl) a"
        " WHERE a.grantee <> c.relowner AND n.nspname !~ '^(pg_|information)' ORDER BY 1, 2, 3, 4"
    )


def test_a_new_server_gets_the_rows_rights_and_files_of_the_backup(
    installation: Installation, embedded: Installation, tmp_path: Path
) -> None:
    before, grants = content_of(installation), grants_of(installation)
    code, out, err = installation.headrace("backup", str(tmp_path / "backup"))
    assert code == 0, err
    assert "complete" in out

    code, out, err = embedded.headrace("restore", str(tmp_path / "backup"))

    assert code == 0, err
    after = content_of(embedded)
    assert after.pop("ops.audit")[: len(before["ops.audit"])] == before.pop("ops.audit")
    assert after == before
    assert grants_of(embedded) == grants
    assert [finding.kind for finding in Verification(embedded.data_dir / "archive").findings(lambda _: None)] == []
    assert (embedded.data_dir / "models" / "20260131-0a1b2c3d" / "model.json").read_text() == "{}"
    assert (embedded.data_dir / "models" / "states.json").read_text() == '{"of": "the backup"}'


def test_a_restore_leaves_no_trace_of_processes_and_has_daily_files_written_again(
    installation: Installation, empty: Installation, tmp_path: Path
) -> None:
    installation.headrace("backup", str(tmp_path / "backup"))

    code, _, err = empty.headrace("restore", str(tmp_path / "backup"))

    assert code == 0, err
    assert empty.rows("SELECT * FROM ops.replicas") == []
    assert empty.rows("SELECT * FROM ops.attempts") == []
    assert empty.rows("SELECT touched > exported FROM facts.export_days") == [(True,)]
    assert empty.rows("SELECT action, service FROM ops.audit WHERE action = 'restore'") == [("restore", "headrace")]


def test_after_a_restore_messages_wait_until_they_are_released(
    installation: Installation, empty: Installation, tmp_path: Path
) -> None:
    installation.headrace("backup", str(tmp_path / "backup"))

    code, out, err = empty.headrace("restore", str(tmp_path / "backup"))

    assert code == 0, err
    assert "messages are held, 2 wait already" in out
    assert "headrace notifications release" in out
    ((cause,),) = empty.rows("SELECT cause FROM notifier.sending_hold")
    assert str(cause).startswith("restored from a backup of ")
    assert empty.rows("SELECT state FROM notifier.ledger ORDER BY state") == [("pending",), ("sending",), ("sent",)]
    _, status, _ = empty.headrace("status")
    assert "messages held" in status
    assert "2 wait: restored from a backup" in status


def test_a_restore_holds_no_message_if_they_are_to_be_sent_again(
    installation: Installation, empty: Installation, tmp_path: Path
) -> None:
    installation.headrace("backup", str(tmp_path / "backup"))

    code, out, err = empty.headrace("restore", str(tmp_path / "backup"), "--send-again")

    assert code == 0, err
    assert "may be sent a second time" in out
    assert empty.rows("SELECT * FROM notifier.sending_hold") == []


def test_a_restored_database_has_another_identity(
    installation: Installation, empty: Installation, tmp_path: Path
) -> None:
    identity = "SELECT id::text, has_old_cursors FROM broker.outbox"
    installation.headrace("backup", str(tmp_path / "backup"))

    code, _, err = empty.headrace("restore", str(tmp_path / "backup"))

    assert code == 0, err
    ((former, _),) = installation.rows(identity)
    ((restored, has_old_cursors),) = empty.rows(identity)
    assert read_manifest(tmp_path / "backup").database_id == former
    assert restored != former
    assert has_old_cursors is False


def test_a_backup_holds_no_secret_and_only_its_owner_can_read_it(installation: Installation, tmp_path: Path) -> None:
    (installation.data_dir / "token").write_text("the-admin-token")
    (installation.data_dir / "secrets").mkdir()
    (installation.data_dir / "secrets" / "headrace_loader.password").write_text("a-password")

    installation.headrace("backup", str(tmp_path / "backup"))

    files = [path for path in (tmp_path / "backup").rglob("*") if path.is_file()]
    for file in files:
        content = file.read_bytes()
        assert stat.S_IMODE(file.stat().st_mode) == 0o600
        assert not any(secret.encode() in content for secret in ["the-admin-token", "a-password"])
    assert stat.S_IMODE((tmp_path / "backup").stat().st_mode) == 0o700


def test_a_backup_in_one_file_is_restored_like_a_folder(
    installation: Installation, empty: Installation, tmp_path: Path
) -> None:
    before = content_of(installation)["facts.events"]
    code, _, err = installation.headrace("backup", str(tmp_path / "backup.tar"))
    assert code == 0, err
    assert stat.S_IMODE((tmp_path / "backup.tar").stat().st_mode) == 0o600

    assert installation.headrace("backup", str(tmp_path / "backup.tar"), "--verify")[0] == 0
    code, _, err = empty.headrace("restore", str(tmp_path / "backup.tar"))

    assert code == 0, err
    assert content_of(empty)["facts.events"] == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["backup.tar", "data", "other"]


def test_a_used_database_is_replaced_only_by_its_name(installation: Installation, tmp_path: Path) -> None:
    installation.headrace("backup", str(tmp_path / "backup"))
    installation.execute("UPDATE facts.events SET title = 'newer'")

    refused = installation.headrace("restore", str(tmp_path / "backup"))
    misnamed = installation.headrace("restore", str(tmp_path / "backup"), "--replace", "another")
    unchanged = installation.rows("SELECT title FROM facts.events")
    replaced = installation.headrace("restore", str(tmp_path / "backup"), "--replace", name_of(installation))

    assert (refused[0], misnamed[0]) == (2, 2)
    assert f"--replace {name_of(installation)}" in refused[2]
    assert unchanged == [("newer",)]
    assert replaced[0] == 0, replaced[2]
    assert installation.rows("SELECT title FROM facts.events") == [(None,)]
    assert installation.rows("SELECT 1 FROM pg_namespace WHERE nspname LIKE '%replaced'") == []


def test_a_restore_is_refused_while_a_service_is_connected(installation: Installation, tmp_path: Path) -> None:
    installation.headrace("backup", str(tmp_path / "backup"))

    with installation.connect() as service:
        service.execute("SET application_name = 'headrace loader'")
        code, _, err = installation.headrace("restore", str(tmp_path / "backup"), "--replace", name_of(installation))

    assert code == 2
    assert "headrace loader" in err


@pytest.mark.parametrize("path", ["database.dump", "files/models/states.json"])
def test_a_damaged_backup_changes_nothing(
    installation: Installation, empty: Installation, tmp_path: Path, path: str
) -> None:
    installation.headrace("backup", str(tmp_path / "backup"))
    damaged = tmp_path / "backup" / path
    content = bytearray(damaged.read_bytes())
    content[len(content) // 2] ^= 1
    damaged.write_bytes(content)

    verified = empty.headrace("backup", str(tmp_path / "backup"), "--verify")
    restored = empty.headrace("restore", str(tmp_path / "backup"))

    assert verified[0] == restored[0] == 1
    assert path in verified[2]
    assert path in restored[2]
    assert empty.rows("SELECT 1 FROM pg_namespace WHERE nspname = 'facts'") == []
    assert not (empty.data_dir / "models").exists()


def test_a_folder_without_a_manifest_is_not_a_backup(
    installation: Installation, empty: Installation, tmp_path: Path
) -> None:
    installation.headrace("backup", str(tmp_path / "backup"))
    (tmp_path / "backup" / "manifest.json").unlink()

    code, _, err = empty.headrace("restore", str(tmp_path / "backup"))

    assert code == 2
    assert "not a complete backup" in err


def test_a_backup_that_fails_leaves_nothing_with_its_name(installation: Installation, tmp_path: Path) -> None:
    settings = installation.settings

    def fail(step: str) -> None:
        if step == "checking the backup":
            raise KeyboardInterrupt

    folders = DataFolders(settings.data_dir, settings.data_dir / "models")
    with pytest.raises(KeyboardInterrupt):
        create_backup(access_of(settings), folders, tmp_path / "backup", fail)

    assert sorted(path.name for path in tmp_path.iterdir()) == ["data"]


def test_a_restore_that_fails_brings_the_old_rows_back(installation: Installation, tmp_path: Path) -> None:
    installation.headrace("backup", str(tmp_path / "backup"))
    installation.execute("UPDATE facts.events SET title = 'newer'")
    # As a killed restore leaves it.
    installation.execute("".join(f"ALTER SCHEMA {name} RENAME TO {name}_replaced;" for name in SCHEMAS))
    installation.execute("CREATE SCHEMA facts; CREATE TABLE facts.half (a int)")

    code, _, err = installation.headrace("restore", str(tmp_path / "backup"))

    assert code == 2
    assert "is not empty" in err
    assert installation.rows("SELECT title FROM facts.events") == [("newer",)]


def test_after_an_interrupted_restore_nothing_begins_with_empty_tables(
    installation: Installation, tmp_path: Path
) -> None:
    """A killed restore leaves the former schemas under other names."""
    installation.headrace("backup", str(tmp_path / "backup"))
    before = content_of(installation)
    for schema in SCHEMAS:
        installation.execute(f"ALTER SCHEMA {schema} RENAME TO {schema}{REPLACED}; CREATE SCHEMA {schema}")

    migrated = installation.headrace("migrate")
    restored = installation.headrace("restore", str(tmp_path / "backup"))

    assert migrated[0] == 1
    assert "was interrupted: repeat `headrace restore BACKUP --replace" in migrated[2]
    assert restored[0] == 2
    assert "is not empty" in restored[2]
    assert content_of(installation) == before
    assert installation.headrace("migrate")[0] == 0


def test_the_archive_keeps_documents_that_were_fetched_after_the_backup(
    installation: Installation, tmp_path: Path
) -> None:
    installation.headrace("backup", str(tmp_path / "backup"))
    archive = DocumentArchive(installation.data_dir / "archive", "made-up")
    newer = document_of(b'{"a": 2}')
    archive.put(newer)

    code, _, err = installation.headrace("restore", str(tmp_path / "backup"), "--replace", name_of(installation))

    assert code == 0, err
    assert [line.hash for line in archive.documents()] == [document_of(b'{"a": 1}').hash, newer.hash]


def test_the_manifest_has_positions_of_the_moment_of_the_rows(installation: Installation, tmp_path: Path) -> None:
    installation.execute(
        "INSERT INTO broker.positions (grp, topic_id, p, next_off) SELECT 'loader', id, 2, 17 FROM broker.topics"
        " WHERE name = 'clean-events';"
        "UPDATE broker.partitions SET end_off = 20 WHERE p = 2"
    )

    installation.headrace("backup", str(tmp_path / "backup"))

    manifest = read_manifest(tmp_path / "backup")
    assert manifest.positions == {"loader": {"clean-events/2": 17}}
    assert manifest.ends["clean-events/2"] == 20
    assert manifest.parts == ["archive", "models"]


def test_only_the_newest_backups_are_kept(installation: Installation, tmp_path: Path) -> None:
    folder = tmp_path / "backups"
    (folder / ".headrace-20260101T000000Z.unfinished-killed").mkdir(parents=True)
    for name in ("headrace-20260101T000000Z", "headrace-20260102T000000Z", "unfinished", "headrace-20250101T000000Z"):
        (folder / name).mkdir(parents=True)
        if name < "headrace-2025" or name > "headrace-2026":
            (folder / name / "manifest.json").touch()

    code, _, err = installation.headrace("backup", str(folder), "--keep", "2")

    assert code == 0, err
    names = sorted(path.name for path in folder.iterdir())
    assert names[:2] == ["headrace-20250101T000000Z", "headrace-20260102T000000Z"]  # the first one is incomplete
    assert len(names) == 4


def test_an_existing_target_is_not_touched(installation: Installation, tmp_path: Path) -> None:
    (tmp_path / "backup").mkdir()
    (tmp_path / "backup" / "mine").touch()

    code, _, err = installation.headrace("backup", str(tmp_path / "backup"))

    assert code == 2
    assert "exists" in err
    assert os.listdir(tmp_path / "backup") == ["mine"]


def test_a_path_out_of_the_backup_is_refused(installation: Installation, empty: Installation, tmp_path: Path) -> None:
    installation.headrace("backup", str(tmp_path / "backup"))
    manifest = tmp_path / "backup" / "manifest.json"
    manifest.write_text(manifest.read_text().replace("files/models/states.json", "files/../../outside"))

    code, _, err = empty.headrace("restore", str(tmp_path / "backup"))

    assert code == 2
    assert "inside the backup" in err


def test_a_tar_file_of_another_program_is_refused(empty: Installation, tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "other.tar", "w") as tar:
        tar.add(__file__, arcname="../escaped")

    code, _, err = empty.headrace("restore", str(tmp_path / "other.tar"))

    assert code == 2
    assert not (tmp_path.parent / "escaped").exists()
    assert "not a backup" in err


def test_all_schemas_of_the_migrations_are_backed_up(installation: Installation) -> None:
    names = installation.rows(
        "SELECT nspname FROM pg_namespace WHERE nspname !~ '^(pg_|information_schema|public)' ORDER BY 1"
    )

    assert [name for (name,) in names] == sorted(SCHEMAS)


def test_a_line_that_is_being_written_is_left_out() -> None:
    times = b'"date":"2026-01-31","fetched_at":"2026-01-31T00:00:00Z","published_at":null'
    line = b'{"feed":"a",%s,"url":"u","historical":false,"hash":"%s"}' % (times, b"0" * 64)

    assert without_open_line(b"\n" + line) == b"\n" + line
    assert without_open_line(b"\n" + line + b"\n" + line[:40]) == b"\n" + line + b"\n"


def test_joined_indexes_have_each_line_once_in_their_order() -> None:
    assert merged_index(b"\na\nb", b"\na\nb\nc") == b"\na\nb\nc"
    assert merged_index(b"\na\nb", b"") == b"\na\nb"
    assert merged_index(b"\na\nb", b"\nb\nc") == b"\na\nb\nc"


def test_old_lines_of_the_trail_move_to_a_file(installation: Installation, tmp_path: Path) -> None:
    installation.execute("SELECT ops.create_audit_month('2025-11-30'), ops.create_audit_month('2025-12-01')")
    installation.execute(
        "INSERT INTO ops.audit (at, service, who, action, target, outcome, request_id)"
        " SELECT at, 's', 'w', at::text, 't', 'accepted', 'r'"
        " FROM unnest(ARRAY['2025-11-30 23:59+00', '2025-12-01 00:00+00']::timestamptz[]) AS at"
    )

    moved = installation.headrace("trail", "--archive", str(tmp_path / "trail.jsonl"), "--older-than", "2025-12")
    again = installation.headrace("trail", "--archive", str(tmp_path / "trail.jsonl"), "--older-than", "2026-01")

    assert moved[0] == 0, moved[2]
    lines = [json.loads(line) for line in (tmp_path / "trail.jsonl").read_text().splitlines()]
    assert [line["at"] for line in lines] == ["2025-11-30T23:59:00+00:00"]
    assert again[0] == 2
    assert installation.rows("SELECT count(*) FROM ops.audit WHERE at < '2026-01-01'") == [(1,)]
    assert installation.rows("SELECT after ->> 'entries' FROM ops.audit WHERE action = 'archive'") == [("1",)]
    with pytest.raises(psycopg.errors.InsufficientPrivilege, match="append-only"):
        installation.execute("DELETE FROM ops.audit")
