"""Makes the certificates and kubeconfig files of a control plane with `openssl`."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

_NAMES = "IP:127.0.0.1,IP:10.96.0.1,DNS:localhost,DNS:kubernetes.default.svc"
# Programs and their identities; members of system:masters may do everything.
USERS = {
    "admin": "/O=system:masters/CN=admin",
    "kwok": "/O=system:masters/CN=kwok",
    "controller-manager": "/CN=system:kube-controller-manager",
    "scheduler": "/CN=system:kube-scheduler",
}
_NEW_KEY = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-noenc"]


def make_certificates(directory: Path, api_port: int) -> None:
    """An authority `ca`, one certificate for the API server, one and a kubeconfig for each user, a signing key."""
    directory.mkdir(parents=True)
    _openssl(
        directory,
        "req",
        "-x509",
        *_NEW_KEY,
        "-days",
        "2",
        "-subj",
        "/CN=test-ca",
        "-keyout",
        "ca.key",
        "-out",
        "ca.crt",
    )
    _certificate(directory, "apiserver", "/CN=kube-apiserver", f"subjectAltName={_NAMES}\n")
    _certificate(directory, "front-proxy", "/CN=front-proxy")
    for user, subject in USERS.items():
        _certificate(directory, user, subject)
        (directory / f"{user}.kubeconfig").write_text(json.dumps(_kubeconfig(directory, user, api_port)))
    _openssl(directory, "genrsa", "-out", "sa.key", "2048")
    _openssl(directory, "rsa", "-in", "sa.key", "-pubout", "-out", "sa.pub")


def _certificate(directory: Path, name: str, subject: str, extension: str = "") -> None:
    (directory / f"{name}.ext").write_text(f"extendedKeyUsage=serverAuth,clientAuth\n{extension}")
    _openssl(directory, "req", *_NEW_KEY, "-subj", subject, "-keyout", f"{name}.key", "-out", f"{name}.csr")
    signer = ["-CA", "ca.crt", "-CAkey", "ca.key", "-CAcreateserial", "-days", "2", "-extfile", f"{name}.ext"]
    _openssl(directory, "x509", "-req", "-in", f"{name}.csr", *signer, "-out", f"{name}.crt")


def _kubeconfig(directory: Path, user: str, api_port: int) -> dict[str, object]:
    files = {"client-certificate": f"{directory}/{user}.crt", "client-key": f"{directory}/{user}.key"}
    server = {"server": f"https://127.0.0.1:{api_port}", "certificate-authority": f"{directory}/ca.crt"}
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "test",
        "clusters": [{"name": "test", "cluster": server}],
        "users": [{"name": user, "user": files}],
        "contexts": [{"name": "test", "context": {"cluster": "test", "user": user}}],
    }


def _openssl(directory: Path, *arguments: str) -> None:
    subprocess.run(["openssl", *arguments], check=True, capture_output=True, cwd=directory)
