"""The settings of exports: formats, target, options; and a loader without the extra `parquet`."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

from services.loader.exports.assembly import make_exporter
from services.loader.exports.parquet_extra import PARQUET_PACKAGES
from services.loader.settings import LoaderSettings
from shared.errors import ConfigError
from shared.settings.loading import load
from tests.services.loader.facts import StillClock

DATABASE = {"HEADRACE_DATABASE__URL": "postgresql://headrace@localhost:5432/headrace"}


def settings_of(**loader: str) -> LoaderSettings:
    return load(
        LoaderSettings, DATABASE | {f"HEADRACE_LOADER__{name.upper()}": value for name, value in loader.items()}
    )


def target_of(settings: LoaderSettings) -> Any:
    return make_exporter(settings, settings.database.conninfo(), StillClock()).status()["exports_target"]


def test_exports_go_to_the_data_directory_as_csv_by_default(tmp_path: Path) -> None:
    settings = settings_of().model_copy(update={"data_dir": tmp_path})

    assert target_of(settings) == str(tmp_path / "exports")
    assert settings.loader.export_formats == ("csv",)
    assert settings.folders() == {"export": tmp_path / "exports"}


def test_a_folder_can_be_named(tmp_path: Path) -> None:
    settings = settings_of(exports_target=str(tmp_path / "elsewhere"), export_formats="csv, parquet")

    assert target_of(settings) == str(tmp_path / "elsewhere")
    assert settings.loader.export_formats == ("csv", "parquet")
    assert settings.folders() == {"export": tmp_path / "elsewhere"}


def test_a_url_needs_no_shared_folder() -> None:
    settings = settings_of(exports_target="s3://bucket/headrace/", exports_options="endpoint_url=http://localhost:9000")

    assert target_of(settings) == "s3://bucket/headrace"
    assert settings.loader.exports_storage_options == {"endpoint_url": "http://localhost:9000"}
    assert settings.folders() == {}


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("exports_target", "s3://AKIA:made-up-secret@bucket/x", "must not contain credentials"),
        ("exports_target", "file:///tmp/x", "a folder without file://"),
        ("exports_options", "secret=made-up-secret", "credentials are not settings"),
        ("exports_options", "made-up-secret", "expected NAME=VALUE"),
        ("exports_options", "endpoint_url=http://me:made-up-secret@localhost", "must not contain credentials"),
        ("export_formats", "xlsx", "'csv' or 'parquet'"),
    ],
)
def test_a_wrong_setting_is_refused_without_its_secret(name: str, value: str, message: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(message)) as error:
        settings_of(**{name: value})

    assert "made-up-secret" not in str(error.value)


def test_the_required_packages_are_those_of_the_extra(repository: Path) -> None:
    extras = tomllib.loads((repository / "pyproject.toml").read_text())["project"]["optional-dependencies"]

    assert {re.split(r"[<=>]", each)[0] for each in extras["parquet"]} == set(PARQUET_PACKAGES)


WITHOUT_PYARROW = """
import os, sys
sys.modules["pyarrow"] = sys.modules["fsspec"] = None
from services.loader.exports.assembly import make_exporter
from services.loader.settings import LoaderSettings
from shared.clock import SystemClock
from shared.errors import ConfigError
from shared.settings.loading import load
settings = load(LoaderSettings, os.environ)
try:
    print(make_exporter(settings, settings.database.conninfo(), SystemClock()).status()["exports_target"])
except ConfigError as error:
    print(error)
"""


@pytest.mark.parametrize(
    ("variables", "output"),
    [
        ({}, "exports"),
        ({"HEADRACE_LOADER__EXPORT_FORMATS": "csv,parquet"}, r"loader\.export_formats: .*headrace\[parquet\]"),
        ({"HEADRACE_LOADER__EXPORTS_TARGET": "s3://bucket"}, r"loader\.exports_target: .*headrace\[parquet\]"),
    ],
)
def test_without_the_packages_only_what_needs_them_is_refused(
    variables: dict[str, str], output: str, tmp_path: Path, repository: Path
) -> None:
    result = subprocess.run(
        [sys.executable, "-c", WITHOUT_PYARROW],
        check=True,
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={"PYTHONPATH": str(repository)} | DATABASE | variables,
    )

    assert re.search(output, result.stdout)
    assert result.stderr == ""


def test_csv_exports_import_no_package_of_the_extra(repository: Path) -> None:
    """The memory and the image of a loader that writes CSV files stay as they are."""
    program = (
        "import services.loader.__main__, sys; sys.exit(bool({'pyarrow', 'fsspec', 'pandas'} & sys.modules.keys()))"
    )

    assert subprocess.run([sys.executable, "-c", program], check=False, cwd=repository).returncode == 0
