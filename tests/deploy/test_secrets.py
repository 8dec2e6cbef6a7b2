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


def generated(installation: Path) -> list[Path]:
    return [path for path in (installation / "secrets").iterdir() if path.is_file()]


def test_every_secret_of_the_compose_file_is_created(installation: Path) -> None:
    subprocess.run([installation / "make-secrets"], check=True, capture_output=True)

    compose = yaml.safe_load((DEPLOY / "docker-compose.yml").read_text())
    expected = {Path(secret["file"]).name for secret in compose["secrets"].values()}
    assert {path.name for path in generated(installation)} == expected
    assert not list((installation / "secrets" / "notifier").iterdir())


def test_secrets_differ_and_are_private(installation: Path) -> None:
    subprocess.run([installation / "make-secrets"], check=True, capture_output=True)

    files = generated(installation)
    assert {stat.S_IMODE(file.stat().st_mode) for file in files} == {0o600}
    assert len({file.read_text() for file in files}) == len(files)
    assert all(re.fullmatch("[0-9a-f]{64}", file.read_text()) for file in files)


def test_no_secret_is_printed(installation: Path) -> None:
    process = subprocess.run([installation / "make-secrets"], check=True, capture_output=True, text=True)

    assert not [file for file in generated(installation) if file.read_text() in process.stdout + process.stderr]


def test_an_existing_secret_is_kept(installation: Path) -> None:
    subprocess.run([installation / "make-secrets"], check=True, capture_output=True)
    before = {file.name: file.read_text() for file in generated(installation)}

    subprocess.run([installation / "make-secrets"], check=True, capture_output=True)

    assert {file.name: file.read_text() for file in generated(installation)} == before


def test_a_secret_of_the_notifier_becomes_private_and_keeps_its_content(installation: Path) -> None:
    notifier = installation / "secrets" / "notifier"
    notifier.mkdir()
    (notifier / "bot.token").write_text("of Discord\n")
    (notifier / "bot.token").chmod(0o644)

    subprocess.run([installation / "make-secrets"], check=True, capture_output=True)

    owner = (installation / "secrets" / "fetcher.token").stat().st_uid
    assert (stat.S_IMODE(notifier.stat().st_mode), notifier.stat().st_uid) == (0o700, owner)
    token = (notifier / "bot.token").stat()
    assert (stat.S_IMODE(token.st_mode), token.st_uid) == (0o600, owner)
    assert (notifier / "bot.token").read_text() == "of Discord\n"


def test_containers_run_as_the_owner_of_the_secrets(installation: Path) -> None:
    subprocess.run([installation / "make-secrets"], check=True, capture_output=True)

    variables = variables_of(installation)
    owner = (installation / "secrets" / "fetcher.token").stat()
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
