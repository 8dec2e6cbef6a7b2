"""Gives the commands that the documentation tells an operator to give."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from pathlib import Path

from headrace.database.data_dir import DataDir
from headrace.database.embedded import DATABASE
from headrace.run.programs import common_environment, python

COMMAND_LIMIT_S = 240.0


class CommandFailedError(Exception):
    """A command did not end in time, or not with exit code 0. The message has its standard error."""


class Operator:
    """A person in front of one data directory."""

    def __init__(self, data_dir: DataDir, broker_url: str) -> None:
        self._data_dir = data_dir
        self._environment: Mapping[str, str] = common_environment(data_dir) | {"HEADRACE_BROKER__URL": broker_url}

    def back_up(self, file: Path) -> None:
        self._command("backup", str(file))

    def restore(self, file: Path) -> None:
        self._command("restore", str(file), "--replace", DATABASE)

    def migrate(self) -> None:
        self._command("migrate")

    def accept_loss(self, service: str) -> None:
        self._command("resume", service, "--accept-loss")

    def release_messages(self) -> None:
        self._command("notifications", "release")

    def _command(self, *words: str) -> None:
        """Raises CommandFailedError."""
        try:
            result = subprocess.run(
                python("-m", "headrace", *words, "--data-dir", str(self._data_dir.path)),
                env={**os.environ, **self._environment},
                capture_output=True,
                text=True,
                stdin=subprocess.DEVNULL,
                timeout=COMMAND_LIMIT_S,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise CommandFailedError(f"headrace {' '.join(words)} did not end: {error}") from error
        if result.returncode:
            raise CommandFailedError(f"headrace {' '.join(words)} ended with {result.returncode}: {result.stderr}")
