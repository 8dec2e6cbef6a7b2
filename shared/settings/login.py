"""A connection string whose password is replaced while the process runs."""

from __future__ import annotations

from pathlib import Path
from typing import Self

from psycopg.conninfo import make_conninfo

from shared.errors import ConfigError
from shared.settings.values import read_secret


class LoginConninfo(str):
    """A connection string with the password that was in a file when it was made."""

    __slots__ = ("_password_file",)
    _password_file: Path

    @classmethod
    def of(cls, conninfo: str, password_file: Path) -> Self:
        """Raises ConfigError if the file holds no password."""
        login = cls(make_conninfo(conninfo, password=read_secret(password_file)))
        login._password_file = password_file
        return login

    def renewed(self) -> str:
        """The connection string with the password that the file holds now; the same one while it cannot be read, which
        happens in the moment in which a new one is written."""
        try:
            return make_conninfo(self, password=read_secret(self._password_file))
        except ConfigError:
            return self
