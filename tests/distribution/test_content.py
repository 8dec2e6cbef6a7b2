"""The source distribution, and the wheel that is built from it, contain what belongs to them."""

from __future__ import annotations

import tarfile
import zipfile
from email.message import Message
from email.parser import HeaderParser
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from tests.distribution.build import PACKAGES, Distributions, repository_files


@pytest.fixture
def metadata(distributions: Distributions) -> Message:
    with zipfile.ZipFile(distributions.wheel) as wheel:
        [name] = [name for name in wheel.namelist() if name.endswith(".dist-info/METADATA")]
        return HeaderParser().parsestr(wheel.read(name).decode())


def package_files(repository: Path) -> set[str]:
    return {path for path in repository_files(repository) if path.split("/")[0] in PACKAGES}


def test_the_wheel_has_every_file_of_the_packages_and_nothing_else(
    repository: Path, distributions: Distributions
) -> None:
    with zipfile.ZipFile(distributions.wheel) as wheel:
        content = {name for name in wheel.namelist() if ".dist-info/" not in name}

    assert content == package_files(repository)


def test_the_source_distribution_has_the_packages_and_the_files_to_build_them(
    repository: Path, distributions: Distributions
) -> None:
    with tarfile.open(distributions.source) as source:
        content = {name.partition("/")[2] for name in source.getnames() if not name.endswith("/")}

    expected = package_files(repository) | {"LICENSE", "README.md", "pyproject.toml", "CHANGELOG.md"}
    assert expected <= content
    assert not any(name.startswith(("tests", "docs", "deploy", "bench", "website")) for name in content)


def test_the_metadata_say_what_an_index_shows(metadata: Message) -> None:
    assert metadata["License-Expression"] == "MIT"
    assert metadata["Requires-Python"] == ">=3.11"
    assert metadata["Description-Content-Type"] == "text/markdown"
    assert "Typing :: Typed" in metadata.get_all("Classifier", [])
    assert str(metadata.get_payload()).lstrip().startswith("# Headrace")


def test_the_extra_all_contains_every_extra_for_users(metadata: Message) -> None:
    requirements = map(Requirement, metadata.get_all("Requires-Dist", []))
    [everything] = [each for each in requirements if each.name == "headrace" and '"all"' in str(each.marker)]

    assert everything.extras == set(metadata.get_all("Provides-Extra", [])) - {"all", "dev", "docs"}


def test_the_installed_packages_do_not_name_the_makefile(distributions: Distributions) -> None:
    """Who installs the wheel has no Makefile."""
    with zipfile.ZipFile(distributions.wheel) as wheel:
        texts = {name: wheel.read(name).decode() for name in wheel.namelist() if name.endswith((".py", ".yaml"))}

    assert [name for name, text in texts.items() if "`make " in text] == []
