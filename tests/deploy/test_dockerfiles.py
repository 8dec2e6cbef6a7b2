"""Each image has a Dockerfile, which installs its own extra, copies its own code and runs as an unprivileged user."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tomllib
from fnmatch import fnmatch
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from shared.topics import SERVICES

ROOT = Path(__file__).parents[2]
LOCKS = ROOT / "deploy" / "locks"
DOCKERFILES = sorted((ROOT / "deploy" / "docker").glob("*.Dockerfile"))
FILES = {path.stem: path.read_text() for path in DOCKERFILES}


def instructions(name: str, keyword: str) -> list[str]:
    """The arguments of each instruction of a kind; continued lines are joined."""
    text = FILES[name].replace("\\\n", " ")
    return [line.split(maxsplit=1)[1] for line in text.splitlines() if line.startswith(f"{keyword} ")]


def test_every_image_has_a_dockerfile() -> None:
    assert FILES.keys() == {*SERVICES, "cli", "simulator"}


def locked(name: str) -> dict[str, str]:
    """The packages of a lock and their versions."""
    return dict(re.findall(r"^([a-z0-9-]+)==([^ ]+)", (LOCKS / f"{name}.txt").read_text(), re.MULTILINE))


@pytest.mark.parametrize("name", FILES)
def test_a_lock_has_what_the_extra_of_the_image_requires(name: str) -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    requirements = [Requirement(each) for each in project["dependencies"] + project["optional-dependencies"][name]]

    versions = locked(name) | (locked("torch") if name == "predictor" else {})

    for requirement in requirements:
        assert requirement.specifier.contains(versions[canonicalize_name(requirement.name)]), requirement


def test_the_image_of_the_loader_has_the_packages_for_parquet_only_on_request() -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]

    assert "pyarrow" not in locked("loader")
    assert locked("loader-parquet").keys() >= {Requirement(each).name for each in extras["parquet"]}
    assert locked("loader").items() <= locked("loader-parquet").items()
    assert "LOADER_LOCK=loader" in instructions("loader", "ARG")


def test_only_the_image_of_the_predictor_has_torch() -> None:
    assert [name for name in FILES if "deploy/locks/torch.txt" in FILES[name]] == ["predictor"]
    assert all("torch" not in locked(name) for name in FILES)
    assert f"TORCH_VERSION={locked('torch')['torch']}" in instructions("predictor", "ARG")


@pytest.mark.parametrize("lock", sorted(LOCKS.glob("*.txt")), ids=lambda path: path.stem)
def test_every_locked_package_has_hashes(lock: Path) -> None:
    packages = re.split(r"\n(?=\S)", lock.read_text().strip())

    assert packages
    assert all("--hash=sha256:" in package for package in packages)


@pytest.mark.parametrize("name", FILES)
def test_a_change_of_code_does_not_install_packages_again(name: str) -> None:
    packages = FILES[name].split(" AS packages\n")[1].split("\nFROM ")[0]

    assert re.findall(r"^COPY (\S+)", packages, re.MULTILINE) == [
        *(["deploy/locks/torch.txt"] if name == "predictor" else []), f"deploy/locks/{name}.txt"
    ]  # fmt: skip
    assert "--require-hashes" in packages


@pytest.mark.parametrize("service", SERVICES)
def test_a_service_image_contains_no_other_service(service: str) -> None:
    copied = [line.split()[0] for line in instructions(service, "COPY") if not line.startswith("--from")]

    code = {source for source in copied if not source.startswith("deploy/locks/")}
    assert code == {"pyproject.toml", "shared", "services/__init__.py", f"services/{service}"}


@pytest.mark.parametrize("name", FILES)
def test_copied_files_exist(name: str) -> None:
    for line in instructions(name, "COPY"):
        if not line.startswith("--from"):
            assert all((ROOT / source).exists() for source in line.split()[:-1]), line


@pytest.mark.parametrize("name", FILES)
def test_the_base_image_can_be_replaced(name: str) -> None:
    assert instructions(name, "FROM") == [
        "${PYTHON_IMAGE} AS packages", "${PYTHON_IMAGE} AS code", "packages AS sbom", "${PYTHON_IMAGE}"
    ]  # fmt: skip
    assert "PYTHON_IMAGE=" in instructions(name, "ARG")[0]
    assert "# syntax=" not in FILES[name]
    assert "@sha256" not in FILES[name]


@pytest.mark.parametrize("name", FILES)
def test_an_image_does_not_run_as_root(name: str) -> None:
    assert instructions(name, "USER") == ["${APP_UID}"]
    assert any(re.fullmatch(r"APP_UID=[1-9]\d+", argument) for argument in instructions(name, "ARG"))


@pytest.mark.parametrize("name", FILES)
def test_an_image_has_labels_and_a_health_check(name: str) -> None:
    label = instructions(name, "LABEL")[0]

    assert f'title="headrace-{name}"' in label
    assert {"licenses", "version", "revision", "source"} <= set(re.findall(r"image\.(\w+)=", label))
    assert "\nHEALTHCHECK " in FILES[name]


@pytest.mark.parametrize("name", FILES)
def test_an_image_has_a_bill_of_materials_of_packages_and_code(name: str) -> None:
    stage = FILES[name].split(" AS sbom\n")[1].split("\nFROM ")[0]

    assert "COPY --from=code /opt/headrace /opt/headrace\nRUN cyclonedx-py environment " in stage
    assert "--from=sbom /sbom.cdx.json /opt/headrace/sbom.cdx.json" in instructions(name, "COPY")


@pytest.mark.parametrize("service", SERVICES)
def test_an_image_starts_its_service(service: str) -> None:
    assert instructions(service, "CMD") == [f'["python", "-m", "services.{service}"]']


@pytest.mark.parametrize(("name", "module"), [("cli", "headrace"), ("simulator", "simulator")])
def test_a_program_starts_with_only_the_code_of_its_image(name: str, module: str, tmp_path: Path) -> None:
    for line in instructions(name, "COPY"):
        source = ROOT / line.split()[0]
        if source.is_dir():
            shutil.copytree(source, tmp_path / source.name, ignore=shutil.ignore_patterns("__pycache__"))

    # Without `site`, nothing adds the folder of this project to the path.
    packages = [path for path in sys.path if Path(path).name == "site-packages"]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), *packages])}
    process = subprocess.run(
        [sys.executable, "-S", "-m", module, "--help"],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )

    assert (process.returncode, process.stderr) == (0, "")
    assert "usage" in process.stdout.lower()


@pytest.mark.parametrize("name", FILES)
def test_an_image_contains_no_secret(name: str) -> None:
    variables = " ".join(instructions(name, "ENV") + instructions(name, "ARG"))

    assert not re.search(r"(?i)password|token|secret", variables)


def test_torch_may_come_from_another_index() -> None:
    assert "TORCH_INDEX_URL=" in instructions("predictor", "ARG")


def test_the_predictor_image_installs_the_openmp_library_of_lightgbm() -> None:
    installed = " ".join(each for each in instructions("predictor", "RUN") if "apt-get" in each)

    assert re.search(r"apt-get install [^&]*\blibgomp1\b", installed)


def test_the_build_context_has_only_what_images_copy() -> None:
    lines = (ROOT / ".dockerignore").read_text().splitlines()
    allowed = {line.removeprefix("!") for line in lines if line.startswith("!")}
    copied = {
        "deploy/locks" if source.startswith("deploy/") else source.split("/")[0]
        for name in FILES
        for line in instructions(name, "COPY")
        if not line.startswith("--from")
        for source in line.split()[:-1]
    }

    assert "*" in lines
    assert allowed == copied


def test_non_python_files_are_installed() -> None:
    """SQL and YAML files reach an image only if the package data names them."""
    data = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["package-data"]
    needed = [
        path.relative_to(ROOT)
        for top in ("headrace", "services", "shared", "simulator")
        for path in (ROOT / top).rglob("*")
        if path.suffix in {".sql", ".yaml", ".html"}
    ]

    missing = [str(path) for path in needed if not _is_named(path, data)]

    assert needed
    assert missing == []


def _is_named(path: Path, data: dict[str, list[str]]) -> bool:
    """Whether a pattern of one of the packages around the file matches the rest of its path."""
    return any(
        _matches(path.relative_to(package), pattern)
        for package in path.parents[:-1]
        for name, patterns in data.items()
        if name in {"*", ".".join(package.parts)}
        for pattern in patterns
    )


def _matches(path: Path, pattern: str) -> bool:
    """Part by part: a star does not reach into a directory."""
    parts = pattern.split("/")
    return len(parts) == len(path.parts) and all(fnmatch(*pair) for pair in zip(path.parts, parts, strict=True))
