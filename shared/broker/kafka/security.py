"""Builds kafka-python's TLS and SASL settings, and explains why a broker refused a connection.

The library (3.0.12) retries a wrong password or certificate, which looks to its caller like a broker that is
unavailable. tests/shared/broker/kafka/test_security.py tests on a real broker that the cause is reported.
"""

from __future__ import annotations

import ssl
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from kafka import errors

from shared.errors import ConfigError
from shared.loopback import is_loopback
from shared.settings.sections import KafkaSettings
from shared.settings.values import read_secret

_LOGIN_ERRORS = (
    errors.SaslAuthenticationFailedError,
    errors.UnsupportedSaslMechanismError,
    errors.IllegalSaslStateError,
)


class MaskedString(str):
    """A string whose repr is masked: the library's admin client logs all of its settings at level debug."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "'***'"


def security_settings(addresses: Sequence[str], kafka: KafkaSettings) -> dict[str, Any]:
    """TLS and SASL settings; they contain the password. Raises ConfigError, whose message never contains it."""
    if kafka.username and not kafka.tls:
        remote = [each for each in addresses if not is_loopback(urlsplit(f"//{each}").hostname or "")]
        if remote:
            raise ConfigError(
                f"kafka.username without TLS is allowed on loopback addresses only, and {remote[0]} is not one:"
                " set kafka.tls to true"
            )
    password = None if kafka.password_file is None else MaskedString(read_secret(kafka.password_file))
    user = {"sasl_mechanism": kafka.mechanism, "sasl_plain_username": kafka.username, "sasl_plain_password": password}
    return {
        "security_protocol": f"{'SASL_' if kafka.username else ''}{'SSL' if kafka.tls else 'PLAINTEXT'}",
        **({"ssl_context": _context(kafka)} if kafka.tls else {}),
        **(user if kafka.username else {}),
    }


def refusal(error: BaseException, addresses: Sequence[str]) -> ConfigError | None:
    """A ConfigError that names the settings to check after a failed connection; None if a retry may help."""
    where = f"Kafka at {', '.join(addresses)}"
    if isinstance(error, _LOGIN_ERRORS):
        why = str(error).rpartition(": ")[2]
        return ConfigError(
            f"{where} refused the login ({why}): check kafka.username, kafka.password_file and kafka.mechanism"
        )
    tls = next((each for each in (error.__context__, *error.args) if isinstance(each, ssl.SSLError)), None)
    if isinstance(tls, ssl.SSLCertVerificationError):
        why = tls.verify_message.rstrip(".")
        return ConfigError(f"{where} has a certificate that is not trusted ({why}): check kafka.ca_file")
    reason = (tls and tls.reason) or ""
    if "ALERT" in reason and "INTERNAL" not in reason:
        return ConfigError(
            f"{where} aborted the TLS handshake ({reason}): check kafka.certificate_file, which it may require, and"
            " kafka.key_file"
        )
    if reason in {"WRONG_VERSION_NUMBER", "RECORD_LAYER_FAILURE"}:
        return ConfigError(f"{where} does not speak TLS at this port: check broker.url and kafka.tls")
    return None


def _context(kafka: KafkaSettings) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=kafka.ca_file)
    except OSError as error:
        raise _unusable("ca_file", kafka.ca_file, error) from None
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if kafka.certificate_file is not None:
        try:
            # Without the argument OpenSSL would prompt on the terminal for the password of an encrypted key.
            context.load_cert_chain(kafka.certificate_file, kafka.key_file, password="")
        except OSError as error:
            raise _unusable("certificate_file and kafka.key_file", kafka.certificate_file, error) from None
    return context


def _unusable(key: str, file: Path | None, error: OSError) -> ConfigError:
    """The errors of ssl are OSErrors too; they have a `reason` if the file could be read."""
    why = getattr(error, "reason", None) or error.strerror
    return ConfigError(f"kafka.{key}: cannot use {file}: {why}; expected PEM")
