"""Decides where the command sends a token, and how it checks the certificates of the services."""

from __future__ import annotations

import ssl

from shared.errors import ConfigError
from shared.settings.admin import AdminSettings


def require_trusted(admin: AdminSettings, url: str) -> None:
    """Raises ConfigError if the token must not be sent to this URL: any service may write ops.replicas, so an address
    in it is not trusted."""
    if (refusal := admin.refusal_to_send_token(url)) is not None:
        raise ConfigError(f"the token is not sent to {url}: {refusal}; admin.hosts names the hosts of the services")


def tls_context_of(admin: AdminSettings) -> ssl.SSLContext:
    """How clients check the services' certificates. Raises ConfigError."""
    try:
        return ssl.create_default_context(cafile=admin.ca_file)
    except (OSError, ssl.SSLError) as error:
        raise ConfigError(
            f"admin.ca_file {admin.ca_file}: expected CA certificates as PEM ({error.strerror or error})"
        ) from None
