"""Fixtures of the tests that run the compose file: `make compose-test`."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.deploy.containers.engine import PARENT, Engine, docker_engine
from tests.deploy.containers.figures import Figures
from tests.deploy.containers.installation import ROOT, Installation, NewInstallation, copy_project
from tests.deploy.containers.stand_ins.build import build_stand_ins, official_images

VARIABLE = "HEADRACE_ENGINE"
# In the tag of the images and in the names of projects, so that others on the same engine are left alone.
RUN = f"test-{os.getpid()}"
FIGURES = Figures()


@dataclass(frozen=True)
class PulledImages:
    """The variables that select the images, and the services whose image cannot be had."""

    variables: dict[str, str]
    left_out: list[str]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    if lines := FIGURES.lines():
        terminalreporter.section("deploy/docker-compose.yml")
        for line in lines:
            terminalreporter.line(line)


@pytest.fixture(scope="session")
def figures() -> Figures:
    return FIGURES


@pytest.fixture(scope="session")
def engine() -> Iterator[Engine]:
    if os.environ.get(VARIABLE) != "1":
        pytest.skip("runs containers on a Docker engine: `make compose-test` runs these tests")
    with docker_engine() as engine:
        yield engine


@pytest.fixture(scope="session")
def directory() -> Iterator[Path]:
    """A directory on the large disk."""
    folder = Path(tempfile.mkdtemp(prefix="hr-compose-", dir=PARENT))
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


@pytest.fixture(scope="session")
def pulled(engine: Engine, directory: Path, figures: Figures) -> PulledImages:
    """The images that the compose file pulls: the official ones, or stand-ins if no registry answers."""
    official = official_images(ROOT / "deploy" / "docker-compose.yml")
    if all(
        engine.has_image(image) or engine.run("pull", "--quiet", image).returncode == 0 for image in official.values()
    ):
        return PulledImages({}, [])
    figures.add("no image registry answers: with stand-ins (tests/deploy/containers/stand_ins), without Grafana")
    stand_ins = build_stand_ins(engine, official, directory / "stand-ins")
    # Without a registry, BuildKit cannot resolve the base image.
    engine.environment["DOCKER_BUILDKIT"] = "0"
    return PulledImages(stand_ins, ["grafana"])


@pytest.fixture(scope="session")
def images(engine: Engine, pulled: PulledImages, directory: Path, figures: Figures) -> Iterator[dict[str, str]]:
    """The images that are built, by the compose service. They are removed at the end."""
    copy_project(directory / "images")
    project = Installation(engine, directory / "images" / "deploy", f"headrace-images-{RUN}", figures)
    project.select({**pulled.variables, "HEADRACE_VERSION": RUN}, pulled.left_out)
    project.override()
    project.configure({})
    yield project.build()
    # By name: another name may have the same image.
    names = ["--format", "{{.Repository}}:{{.Tag}}", "--filter", f"reference=headrace/*:{RUN}*"]
    engine.docker("image", "rm", *engine.docker("image", "ls", *names).split())


@pytest.fixture(scope="session")
def new_installation(
    engine: Engine,
    pulled: PulledImages,
    images: dict[str, str],
    directory: Path,
    figures: Figures,
    request: pytest.FixtureRequest,
) -> NewInstallation:
    """Makes an installation with a copy of the project of its own. Its images exist."""

    @contextmanager
    def make(name: str) -> Iterator[Installation]:
        copy_project(directory / name)
        installation = Installation(engine, directory / name / "deploy", f"headrace-{name}-{RUN}", figures)
        installation.select({**pulled.variables, "HEADRACE_VERSION": RUN}, pulled.left_out)
        failed, is_over = request.session.testsfailed, False
        try:
            yield installation
            is_over = True
        finally:
            if not is_over or request.session.testsfailed > failed:
                sys.stderr.write(installation.run("logs", "--tail", "30").stdout)
            installation.remove()

    return make
