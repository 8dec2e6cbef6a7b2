"""A running Kubernetes control plane with two nodes that kwok plays: pods get ready, but no container starts."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
from pathlib import Path
from typing import Any

from tests.deploy.kubernetes.control_plane.certificates import make_certificates
from tests.deploy.kubernetes.control_plane.custom_resources import definitions_of
from tests.deploy.kubernetes.tools import tool
from tests.waiting import wait_until

NODES = ("node-a", "node-b")
_CAPACITY = {"cpu": "8", "memory": "32Gi", "pods": "110"}


class ControlPlane:
    def __init__(self, binaries: Path, directory: Path) -> None:
        self._binaries, self._directory = binaries, directory
        self._pki = directory / "pki"
        self._processes: list[subprocess.Popen[bytes]] = []
        self.kubeconfig = self._pki / "admin.kubeconfig"

    def start(self, custom_schemas: Path | None) -> None:
        etcd, peer, api, manager, scheduler, kwok = _free_ports(6)
        make_certificates(self._pki, api)
        self._start_etcd(etcd, peer)
        self._start_api_server(etcd, api)
        wait_until(lambda: self.run("get", "--raw", "/readyz").returncode == 0)
        self._start_controllers(manager, scheduler, kwok)
        wait_until(lambda: self.run("get", "serviceaccount", "default", "-n", "default").returncode == 0)
        self.apply({"apiVersion": "v1", "kind": "List", "items": [_node(name) for name in NODES]})
        self.kubectl("apply", "--filename", str(self._binaries / "storage-class.yaml"))
        if custom_schemas is not None:
            self.apply(definitions_of(custom_schemas))

    def stop(self) -> None:
        """Kill the processes: the data is thrown away."""
        for process in reversed(self._processes):
            with contextlib.suppress(ProcessLookupError):
                process.send_signal(signal.SIGKILL)
            process.wait()

    def run(self, *arguments: str, text: str | None = None) -> subprocess.CompletedProcess[str]:
        """`kubectl`, which may fail."""
        command = [tool("kubectl"), "--kubeconfig", str(self.kubeconfig), *arguments]
        return subprocess.run(command, check=False, capture_output=True, text=True, input=text)

    def kubectl(self, *arguments: str, text: str | None = None) -> str:
        process = self.run(*arguments, text=text)
        assert process.returncode == 0, f"kubectl {' '.join(arguments)}: {process.stderr}"
        return process.stdout

    def get(self, *arguments: str) -> dict[str, Any]:
        answer: dict[str, Any] = json.loads(self.kubectl("get", *arguments, "--output", "json"))
        return answer

    def apply(self, document: dict[str, Any]) -> None:
        self.kubectl("apply", "--server-side", "--filename", "-", text=json.dumps(document))

    def helm(self, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
        environment = os.environ | {"KUBECONFIG": str(self.kubeconfig)}
        return subprocess.run([tool("helm"), *arguments], check=False, capture_output=True, text=True, env=environment)

    def _start_etcd(self, client: int, peer: int) -> None:
        urls = f"http://127.0.0.1:{client}", f"http://127.0.0.1:{peer}"
        self._start(
            "etcd", f"--data-dir={self._directory}/etcd", "--unsafe-no-fsync", "--log-level=warn",
            f"--listen-client-urls={urls[0]}", f"--advertise-client-urls={urls[0]}", f"--listen-peer-urls={urls[1]}",
            f"--initial-advertise-peer-urls={urls[1]}", f"--initial-cluster=default={urls[1]}",
        )  # fmt: skip

    def _start_api_server(self, etcd: int, port: int) -> None:
        self._start(
            "kube-apiserver", f"--etcd-servers=http://127.0.0.1:{etcd}", "--bind-address=127.0.0.1",
            "--advertise-address=127.0.0.1", f"--secure-port={port}", "--endpoint-reconciler-type=none",
            "--service-cluster-ip-range=10.96.0.0/16", "--authorization-mode=Node,RBAC",
            # Else validation refuses a privileged pod before the Pod Security Standards do.
            "--allow-privileged", "--client-ca-file=pki/ca.crt", "--tls-cert-file=pki/apiserver.crt",
            "--tls-private-key-file=pki/apiserver.key", "--service-account-issuer=https://kubernetes.default.svc",
            "--service-account-key-file=pki/sa.pub", "--service-account-signing-key-file=pki/sa.key",
            "--requestheader-client-ca-file=pki/ca.crt", "--requestheader-allowed-names=front-proxy",
            "--requestheader-username-headers=X-Remote-User", "--requestheader-group-headers=X-Remote-Group",
            "--requestheader-extra-headers-prefix=X-Remote-Extra-", "--proxy-client-cert-file=pki/front-proxy.crt",
            "--proxy-client-key-file=pki/front-proxy.key",
        )  # fmt: skip

    def _start_controllers(self, manager: int, scheduler: int, kwok: int) -> None:
        self._start(
            "kube-controller-manager", *_client("controller-manager"), "--bind-address=127.0.0.1",
            f"--secure-port={manager}", "--leader-elect=false", "--use-service-account-credentials",
            "--service-account-private-key-file=pki/sa.key", "--root-ca-file=pki/ca.crt",
            "--cluster-signing-cert-file=pki/ca.crt", "--cluster-signing-key-file=pki/ca.key",
        )  # fmt: skip
        self._start(
            "kube-scheduler", *_client("scheduler"), "--bind-address=127.0.0.1", f"--secure-port={scheduler}",
            "--leader-elect=false",
        )  # fmt: skip
        self._start(
            "kwok", "--kubeconfig=pki/kwok.kubeconfig", "--manage-all-nodes", "--node-ip=127.0.0.1",
            "--cidr=10.244.0.0/16", f"--server-address=127.0.0.1:{kwok}", f"--config={self._stages()}",
            # Without leases the controller manager marks the nodes as lost after 50 s, and their pods as not ready.
            "--node-lease-duration-seconds=40",
        )  # fmt: skip

    def _stages(self) -> Path:
        file = self._directory / "stages.yaml"
        stages = json.loads((self._binaries / "stages.json").read_text())
        file.write_text("\n---\n".join(json.dumps(stage) for stage in stages))
        return file

    def _start(self, name: str, *options: str) -> None:
        with (self._directory / f"{name}.log").open("wb") as log:
            self._processes.append(
                subprocess.Popen(
                    [self._binaries / name, *options],
                    cwd=self._directory,
                    stdout=log,
                    stderr=log,
                    stdin=subprocess.DEVNULL,
                )
            )


def _client(user: str) -> list[str]:
    file = f"pki/{user}.kubeconfig"
    return [f"--kubeconfig={file}", f"--authentication-kubeconfig={file}", f"--authorization-kubeconfig={file}"]


def _node(name: str) -> dict[str, Any]:
    zone = name.removeprefix("node-")
    labels = {"kubernetes.io/hostname": name, "kubernetes.io/os": "linux", "topology.kubernetes.io/zone": zone}
    status = {"allocatable": _CAPACITY, "capacity": _CAPACITY}
    return {"apiVersion": "v1", "kind": "Node", "metadata": {"name": name, "labels": labels}, "status": status}


def _free_ports(count: int) -> list[int]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports
