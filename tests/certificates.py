"""Certificates for TLS servers on loopback, made when the tests run."""

from __future__ import annotations

import ssl
import subprocess
from pathlib import Path
from typing import NamedTuple

from tests.waiting import DEADLINE_S


class Certificate(NamedTuple):
    """A self-signed certificate for 127.0.0.1: clients trust `file`, the server uses `context`."""

    file: Path
    key: Path
    context: ssl.SSLContext


def make_certificate(directory: Path) -> Certificate:
    certificate, key = directory / "server.crt", directory / "server.key"
    command = [
        *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"),
        *("-days", "2", "-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"),
        *("-keyout", str(key), "-out", str(certificate)),
    ]
    result = subprocess.run(command, capture_output=True, text=True, timeout=DEADLINE_S, check=False)
    assert result.returncode == 0, result.stderr
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    return Certificate(certificate, key, context)
