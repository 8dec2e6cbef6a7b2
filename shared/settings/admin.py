"""The settings of the services' HTTP servers, and of the clients that send tokens to them."""

from __future__ import annotations

import re
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Annotated, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from shared.errors import ConfigError
from shared.loopback import is_loopback
from shared.settings.values import ReachableUrl, SecretFile, Section, read_secret

MIN_TOKEN_CHARS = 32
_READABLE_BY_OTHERS = 0o007
_HOST = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9._-]{0,251}[A-Za-z0-9])?")


def _names(value: object) -> object:
    return [part.strip() for part in value.split(",") if part.strip()] if isinstance(value, str) else value


def _host_names(names: tuple[str, ...]) -> tuple[str, ...]:
    for name in names:
        if not _is_host(name):
            raise ValueError(f"{name!r}: expected names or addresses without a port")
    return tuple(name.lower() for name in names)


def _hosts_or_networks(names: tuple[str, ...]) -> tuple[str, ...]:
    for name in names:
        if not (_is_host(name) or ("/" in name and _is_network(name))):
            raise ValueError(f"{name!r}: expected names, addresses or networks such as 10.2.0.0/16")
    return tuple(name.lower() for name in names)


HostNames = Annotated[tuple[str, ...], BeforeValidator(_names), AfterValidator(_host_names)]
HostsOrNetworks = Annotated[tuple[str, ...], BeforeValidator(_names), AfterValidator(_hosts_or_networks)]


class AdminSettings(Section):
    host: str = Field(
        default="127.0.0.1",
        description="address that the service's HTTP server listens on; beyond loopback it needs `tls_cert_file`, or"
        " `behind_proxy`",
    )
    port: int = Field(default=0, ge=0, le=65535, description="its port; 0 picks a free port")
    advertised_url: ReachableUrl | None = Field(
        default=None,
        description="URL at which the command and other services reach the service's HTTP server; by default its host"
        " and port, with the machine's host name if it listens on all addresses",
    )
    allowed_hosts: HostNames = Field(
        default=(),
        description="further names by which clients may address the server (header `Host`), separated by commas;"
        " always allowed are the address that the client connected to, loopback, the machine's host name and the"
        " host of `advertised_url`",
    )
    token_file: SecretFile | None = Field(
        default=None,
        description=f"file that contains the bearer token for /v1: at least {MIN_TOKEN_CHARS} characters, not readable"
        " by other users; a running service uses a new one within a second",
    )
    token_dir: Path | None = Field(
        default=None,
        description="for the command: directory with the token of each service in a file SERVICE.token, if they have"
        " different ones; used in place of `token_file`",
    )
    tls_cert_file: Path | None = Field(
        default=None, description="certificate of the HTTP server, with its chain (PEM); the server then speaks https"
    )
    tls_key_file: SecretFile | None = Field(
        default=None, description="file that contains the private key of the certificate (PEM)"
    )
    behind_proxy: bool = Field(
        default=False,
        description="the network protects plain http beyond loopback: a proxy that ends TLS, or a private network of"
        " containers",
    )
    max_connections: int = Field(
        default=64, ge=8, le=10_000, description="connections of the HTTP server at a time; more get 503"
    )
    hosts: HostsOrNetworks = Field(
        default=(),
        description="names, addresses and networks, separated by commas, to which the command and the bot may send"
        " a token, beside loopback; over https, or over http if `behind_proxy` is true",
    )
    ca_file: Path | None = Field(
        default=None,
        description="CA certificates with which the command checks the servers (PEM); default: the system's",
    )

    @model_validator(mode="after")
    def _check_transport(self) -> Self:
        if (self.tls_cert_file is None) != (self.tls_key_file is None):
            raise ValueError("tls_cert_file and tls_key_file must be set together")
        if not (is_loopback(self.host) or self.tls_cert_file or self.behind_proxy):
            raise ValueError(
                f"host {self.host} is beyond loopback, where others could read the tokens: set tls_cert_file and"
                " tls_key_file, or behind_proxy if the network protects the connections"
            )
        return self

    @property
    def scheme(self) -> str:
        return "http" if self.tls_cert_file is None else "https"

    def token_file_for(self, service: str) -> Path | None:
        """The file with the token that the command sends to this service; None if the settings name none."""
        return self.token_file if self.token_dir is None else self.token_dir / f"{service}.token"

    def refusal_to_send_token(self, url: str) -> str | None:
        """Why a token must not be sent to this URL; None if it may be. An address that a table names is not trusted."""
        parts = urlsplit(url)
        host = (parts.hostname or "").lower()
        if parts.scheme not in {"http", "https"}:
            return "expected http://HOST:PORT or https://HOST:PORT"
        if is_loopback(host):
            return None
        if not any(_includes(each, host) for each in self.hosts):
            return f"{host or url} is not among admin.hosts"
        if parts.scheme == "http" and not self.behind_proxy:
            return "plain http would show the token: use https, or set admin.behind_proxy if the network protects it"
        return None


def read_file_token(file: Path) -> str:
    """The token in admin.token_file. Raises ConfigError, which never contains the token."""
    token = read_secret(file)
    hint = f"`(umask 077; openssl rand -hex 32 > {file})` makes a new one"
    if len(token) < MIN_TOKEN_CHARS:
        raise ConfigError(
            f"admin.token_file {file}: the token has {len(token)} characters, expected at least {MIN_TOKEN_CHARS};"
            f" {hint}"
        )
    if file.stat().st_mode & _READABLE_BY_OTHERS:
        raise ConfigError(
            f"admin.token_file {file}: other users of this machine can read or write it; `chmod 600 {file}`, and if one"
            f" may have read it, {hint}"
        )
    return token


def _is_host(name: str) -> bool:
    return _HOST.fullmatch(name) is not None or _is_address(name)


def _is_address(name: str) -> bool:
    try:
        ip_address(name)
    except ValueError:
        return False
    return True


def _is_network(name: str) -> bool:
    try:
        ip_network(name)
    except ValueError:
        return False
    return True


def _includes(allowed: str, host: str) -> bool:
    """Whether a name, address or network includes a host. A name is never resolved."""
    if "/" not in allowed:
        return allowed == host
    return _is_address(host) and ip_address(host) in ip_network(allowed)
