"""Prepares a database that is not ours to start: schema, topics, and each role's password from its file.

Run before the services, by the owner, with HEADRACE_DATABASE__URL and HEADRACE_DATABASE__PASSWORD_FILE; safe to repeat.

    python prepare.py DIRECTORY      where <role>.password lies for every role
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path

import psycopg
from psycopg import sql

from headrace.access import ROLES, Access, access_of, prepare
from shared.errors import ConfigError
from shared.settings import Settings, load, read_secret


def main(directory: Path) -> int:
    """Exit codes as of every program here: 0 done, 1 it could not be done, 2 a setting is wrong."""
    try:
        settings = settings_of(os.environ)
        secrets = {role: read_secret(directory / f"{role}.password") for role in ROLES}
        access = access_of(settings)
        applied = prepare(access, settings)
        set_passwords(access, secrets)
    except ConfigError as error:
        sys.stderr.write(f"prepare: {error}\n")
        return 2
    except psycopg.Error as error:
        sys.stderr.write(f"prepare: the database refused: {' '.join(str(error).split())}\n")
        return 1
    sys.stdout.write(f"prepare: {applied} migrations applied, topics are there, {len(secrets)} passwords set\n")
    return 0


def settings_of(environ: Mapping[str, str]) -> Settings:
    settings = load(Settings, environ)
    if settings.database is None:
        raise ConfigError("database.url is missing: set HEADRACE_DATABASE__URL")
    return settings


def set_passwords(access: Access, secrets: dict[str, str]) -> None:
    """Hashed here, so that no password travels or shows in the server's log."""
    with access.connect("headrace prepare") as connection:
        for role, secret in secrets.items():
            hashed = connection.pgconn.encrypt_password(secret.encode(), role.encode(), b"scram-sha-256").decode()
            connection.execute(sql.SQL("ALTER ROLE {} PASSWORD {}").format(sql.Identifier(role), sql.Literal(hashed)))


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit("usage: prepare.py DIRECTORY")
    sys.exit(main(Path(sys.argv[1])))
