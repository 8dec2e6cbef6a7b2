"""The script that creates secrets."""

from __future__ import annotations

import re
import shutil
import stat
import subprocess
from pathlib import Path

import pytest
import yaml

DEPLOY = Path(__file__).parents[2] / "deploy"


@pytest.fixture
def installation(tmp_path: Path) -> Path:
    """A copy of the deploy directory without secrets."""
    (tmp_path / "secrets").mkdir()
    for file in ("make-secrets", ".env.example"):
        shutil.copy(DEPLOY / file, tmp_path)
    return tmp_path


def variables_of(installation: Path) -> dict[str, str]:
    lines = (installation / ".env").read_text().splitlines()
    return dict(line.split("=", 1) for line in lines if re.match("[A-Z]", line))


def test_every_secret_of_the_compose_file_is_created(installation: Path) -> None:
    subprocess.run([installation / "make-secrets"], check=True, capture_output=True)

    compose = yaml.safe_load((DEPLOY / "docker-compose.yml").read_text())
    expected = {Path(secret["file"]).name for secret in compose["secrets"].values()}
    assert {path.name for path in (installation / "secrets").iterdir()} == expected


def test_secrets_differ_and_are_private(installation: Path) -> None:
    subprocess.run([installation / "make-secrets"], check=True, capture_output=True)

    files = list((installation / "secrets").iterdir())
    assert {stat.S_IMODE(file.stat().st_mode) for file in files} == {0o600}
    assert len({file.read_text() for file in files}) == len(files)
    assert all(re.fullmatch("[0-9a-f]{64}", file.read_text()) for file in files)


def test_no_secret_is_printed(installation: Path) -> None:
    process = subprocess.run([installation / "make-secrets"], check=True, capture_output=True, text=True)

    assert not [
        file for file in (installation / "secrets").iterdir() if file.read_text() in process.stdout + process.stderr
    ]


def test_an_existing_secret_is_kept(installation: Path) -> None:
    subprocess.run([installation / "make-secrets"], check=True, capture_output=True)
    before = {file.name: file.read_text() for file in (installation / "secrets").iterdir()}

    subprocess.run([installation / "make-secrets"], check=True, capture_output=True)

    assert {file.name: file.read_text() for file in (installation / "secrets").iterdir()} == before


def test_containers_run_as_the_owner_of_the_secrets(installation: Path) -> None:
    subprocess.run([installation / "make-secrets"], check=True, capture_output=True)

    variables = variables_of(installation)
    owner = (installation / "secrets" / "admin.token").stat()
    assert (int(variables["HEADRACE_UID"]), int(variables["HEADRACE_GID"])) == (owner.st_uid, owner.st_gid)
    assert owner.st_uid != 0


def test_an_older_env_file_keeps_its_values_and_gets_the_newer_variables(installation: Path) -> None:
    (installation / ".env").write_text("HEADRACE_UID=1234\nHEADRACE_GID=1234\nHEADRACE_BROKER=embedded\n")

    for _ in range(2):
        subprocess.run([installation / "make-secrets"], check=True, capture_output=True)

    variables = variables_of(installation)
    assert (variables["HEADRACE_UID"], variables["HEADRACE_BROKER"]) == ("1234", "embedded")
    assert (variables["COMPOSE_PROFILES"], variables["HEADRACE_SOURCE"]) == ("kafka", "boatrace")
    assert len((installation / ".env").read_text().splitlines()) == len(variables)
