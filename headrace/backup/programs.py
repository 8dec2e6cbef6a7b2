"""Runs pg_dump and pg_restore: those of the embedded server's package, or those on PATH.

A pg_dump that is older than the server refuses to work, and pg_restore must be at least as new as the pg_dump that
wrote the file. The password is passed in a file that only this user can read.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from psycopg.conninfo import make_conninfo

from headrace.database.embedded import bin_dir
from shared.errors import ConfigError, HeadraceError
from shared.settings.sections import DatabaseSettings
from shared.settings.values import read_secret

APPLICATION_NAME = "headrace backup"


class PostgresProgram(NamedTuple):
    """An installed program and the major version of its PostgreSQL."""

    path: Path
    major: int


def find_program(name: str, major: int, *, embedded: bool) -> PostgresProgram:
    """The installed program of the lowest major version that is at least `major`.

    Of equal versions, the one of the embedded server's package is used for the embedded server, and the one on PATH
    otherwise. Raises ConfigError that names what is installed.
    """
    on_path, packaged = shutil.which(name), _packaged(name)
    places = [packaged, on_path] if embedded else [on_path, packaged]
    installed = [PostgresProgram(Path(place), _major_of(Path(place))) for place in places if place is not None]
    usable = [program for program in installed if program.major >= major]
    if not usable:
        names = ", ".join(f"{each.path} of version {each.major}" for each in installed) or "none is installed"
        raise ConfigError(
            f"expected {name} of PostgreSQL {major} or later, found {names}: install the client programs of PostgreSQL"
            f" {major} (Debian: postgresql-client-{major}), or pip install 'headrace[cli]'"
        )
    return min(usable, key=lambda program: program.major)


def run_program(program: PostgresProgram, arguments: Sequence[str], login: DatabaseSettings | None = None) -> str:
    """Run a program to its end and return its output. Raises HeadraceError with its last lines."""
    with _connection_options(login) as options:
        result = subprocess.run(  # noqa: S603
            [str(program.path), *options, *arguments],
            check=False,
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
            env={**os.environ, "PGAPPNAME": APPLICATION_NAME},
        )
    if result.returncode:
        lines = " | ".join((result.stderr or result.stdout).strip().splitlines()[-5:])
        raise HeadraceError(f"{program.path.name} failed ({result.returncode}): {lines}")
    return result.stdout


@contextmanager
def _connection_options(login: DatabaseSettings | None) -> Iterator[list[str]]:
    """The options for a login. No password is on the command line or in the environment."""
    if login is None:
        yield []
        return
    if login.password_file is None:
        yield [f"--dbname={login.url}"]
        return
    with tempfile.TemporaryDirectory(prefix="headrace-") as folder:
        passfile = Path(folder) / "pgpass"
        passfile.touch(mode=0o600)
        escaped = read_secret(login.password_file).replace("\\", "\\\\").replace(":", "\\:")
        passfile.write_text(f"*:*:*:*:{escaped}\n")
        yield [f"--dbname={make_conninfo(login.url, passfile=str(passfile))}"]


def _packaged(name: str) -> Path | None:
    try:
        return bin_dir() / name
    except ConfigError:
        return None


def _major_of(path: Path) -> int:
    """The major version that a program reports. Raises ConfigError."""
    result = subprocess.run([str(path), "--version"], check=False, capture_output=True, text=True)  # noqa: S603
    version = re.search(r"\) (\d+)", result.stdout)
    if result.returncode or version is None:
        raise ConfigError(f"{path} --version does not work: {(result.stderr or result.stdout).strip()[:200]}")
    return int(version[1])
