"""Builds stand-ins for the images that the compose file pulls, on a machine that reaches no image registry.

The base is a Debian made by debootstrap, PostgreSQL comes from PyPI, Kafka from Maven, Prometheus and Alertmanager come
from Debian. Each has the paths, the user and the first steps that the compose file relies on. Grafana has no stand-in.

Stand-ins prove Headrace's images, networks, secrets, health checks, order of start, and behaviour under faults. They do
not prove that the official images handle their variables, users and signals in the same way, nor the official versions:
Debian's Prometheus and Alertmanager are older, and its Python has another build.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.deploy.containers.engine import Engine
from tests.kafka.jars import KafkaMissingError, jars

HERE = Path(__file__).parent
PREFIX = "headrace-stand-in"
PYTHON = "PYTHON_IMAGE"
WITHOUT_STAND_IN = frozenset({"GRAFANA_IMAGE"})
_PACKAGES = "ca-certificates,python3,python3-venv,python3-pip,adduser"
_CERTIFICATES = "/etc/ssl/certs/ca-certificates.crt"
# Settings of this machine's pip that a build inside a container needs too.
_PIP_VARIABLES = ("PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "PIP_TRUSTED_HOST", "PIP_DEFAULT_TIMEOUT")
_PIP_FILES = (Path("/etc/pip.conf"), Path.home() / ".config" / "pip" / "pip.conf", Path.home() / ".pip" / "pip.conf")


def official_images(compose_file: Path) -> dict[str, str]:
    """The images that the compose file pulls, by the variable that replaces each."""
    return dict(re.findall(r"\$\{(\w+_IMAGE):-([^}]+)\}", compose_file.read_text()))


def build_stand_ins(engine: Engine, official: dict[str, str], folder: Path) -> dict[str, str]:
    """The stand-ins by variable. Skips the calling test if a tool is missing that builds them."""
    if shutil.which("debootstrap") is None or os.geteuid() != 0:
        pytest.skip("no image registry answers, and building stand-ins needs root and Debian's package debootstrap")
    try:
        kafka_jars = jars()
    except KafkaMissingError as error:
        pytest.skip(str(error))
    images = {
        variable: f"{PREFIX}/{image.split('/')[-1]}"
        for variable, image in official.items()
        if variable not in WITHOUT_STAND_IN
    }
    if not engine.has_image(images[PYTHON]):
        _import_python(engine, images[PYTHON], folder / "debian", official[PYTHON].rsplit("-", 1)[-1])
    for variable, image in images.items():
        if variable == PYTHON or engine.has_image(image):
            continue
        context = folder / variable
        shutil.copytree(HERE / image.removeprefix(f"{PREFIX}/").split(":")[0], context)
        if variable == "KAFKA_IMAGE":
            shutil.copytree(kafka_jars, context / "jars")
        engine.docker("build", "--quiet", "--build-arg", f"{PYTHON}={images[PYTHON]}", "--tag", image, context)
    return images


def _import_python(engine: Engine, image: str, root: Path, suite: str) -> None:
    command = ["debootstrap", "--variant=minbase", f"--include={_PACKAGES}", suite, str(root)]
    process = subprocess.run(command, check=False, capture_output=True, text=True)
    assert process.returncode == 0, process.stdout[-2000:]
    _configure(root)
    environment = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}
    environment |= {"PIP_CERT": _CERTIFICATES, "SSL_CERT_FILE": _CERTIFICATES}
    environment |= {name: os.environ[name] for name in _PIP_VARIABLES if name in os.environ}
    changes = [option for each in environment.items() for option in ("--change", f"ENV {'='.join(each)}")]
    with subprocess.Popen(["tar", "-C", str(root), "-c", "."], stdout=subprocess.PIPE) as tar:
        command = ["docker", "import", "--change", 'CMD ["python3"]', *changes, "-", image]
        subprocess.run(command, check=True, stdin=tar.stdout, stdout=subprocess.DEVNULL, env=engine.environment)
    shutil.rmtree(root)


def _configure(root: Path) -> None:
    """Make `python` and pip usable as in the official image; copy this machine's certificates and package settings."""
    for path in [*root.glob("var/cache/apt/archives/*.deb"), *root.glob("usr/lib/python3*/EXTERNALLY-MANAGED")]:
        path.unlink()
    for path in (root / "var/lib/apt/lists").iterdir():
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    (root / "etc/resolv.conf").unlink(missing_ok=True)
    (root / "usr/bin/python").symlink_to("python3")
    for file in [Path(_CERTIFICATES), *_PIP_FILES[:1], *_apt_settings()]:
        if file.exists():
            shutil.copyfile(file, root / file.relative_to("/"))
    for file in _PIP_FILES[1:]:
        if file.exists():
            target = root / "root" / file.relative_to(Path.home())
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, target)


def _apt_settings() -> list[Path]:
    """The files that say how packages are fetched."""
    return [file for file in Path("/etc/apt/apt.conf.d").iterdir() if "Acquire::" in file.read_text()]
