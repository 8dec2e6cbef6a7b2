"""Builds the Kubernetes control plane from go.mod: `python -m tests.deploy.kubernetes.control_plane.build`.

etcd, kube-apiserver, kube-controller-manager, kube-scheduler and kwok, which plays the nodes. go.mod requires
k8s.io/kubernetes and replaces each of its staging modules by the published one. The first build takes ten minutes of
processor time, a repeated one seconds.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

from tests.deploy.kubernetes.control_plane.stages import stages_of
from tests.deploy.kubernetes.tools import CACHE, KUBERNETES

DIRECTORY = CACHE / f"control-plane-{KUBERNETES}"
# By the name of the binary that Go makes of it.
PACKAGES = {
    "server": "go.etcd.io/etcd/server/v3",
    "kwok": "sigs.k8s.io/kwok/cmd/kwok",
    "kube-apiserver": "k8s.io/kubernetes/cmd/kube-apiserver",
    "kube-scheduler": "k8s.io/kubernetes/cmd/kube-scheduler",
    "kube-controller-manager": "k8s.io/kubernetes/cmd/kube-controller-manager",
}
MODULE = Path(__file__).parent
_VERSION = "k8s.io/component-base/version"


def build() -> None:
    if DIRECTORY.is_dir():
        return
    part = DIRECTORY.with_suffix(DIRECTORY.suffix + ".part")
    part.mkdir(parents=True, exist_ok=True)
    for name, package in PACKAGES.items():
        sys.stdout.write(f"building {package}\n")
        sys.stdout.flush()
        _go("build", "-trimpath", "-ldflags", _linker_options(), "-o", part / name, package)
    (part / "server").rename(part / "etcd")
    stages = Path(_go("list", "-m", "-f", "{{.Dir}}", "sigs.k8s.io/kwok").strip()) / "kustomize" / "stage"
    (part / "stages.json").write_text(json.dumps(stages_of(stages)))
    shutil.copyfile(stages / "volume" / "fast" / "storage-class.yaml", part / "storage-class.yaml")
    part.rename(DIRECTORY)


def _linker_options() -> str:
    major, minor, _ = KUBERNETES.split(".")
    values = {"gitVersion": f"v{KUBERNETES}", "gitMajor": major, "gitMinor": minor, "gitTreeState": "clean"}
    return " ".join(["-s", "-w", *(f"-X {_VERSION}.{name}={value}" for name, value in values.items())])


def _go(*arguments: str | Path) -> str:
    environment = {"CGO_ENABLED": "0", "GOFLAGS": "-buildvcs=false -mod=readonly -p=1"}
    process = subprocess.run(
        ["nice", "go", *arguments],
        check=True,
        stdout=subprocess.PIPE,
        text=True,
        cwd=MODULE,
        env=os.environ | environment,
    )
    return process.stdout


if __name__ == "__main__":
    build()
