"""Reads rule files: the one of the settings, or the shipped one (default.yaml)."""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path
from typing import NamedTuple

from services.notifier.rules.model import RuleFile
from services.notifier.rules.validation import CanSend, can_send_everywhere, parse_rules
from services.notifier.rules.yaml_tree import MAX_SIZE_BYTES
from shared.errors import ConfigError

DEFAULT_FILE = Path(__file__).parent / "default.yaml"


class RuleSource(NamedTuple):
    """The content of a rule file. `file` is None for the shipped one."""

    file: Path | None
    content: bytes

    @property
    def digest(self) -> str:
        """The SHA-256 of the content, in hexadecimal digits."""
        return sha256(self.content).hexdigest()

    def parse(self, can_send: CanSend = can_send_everywhere) -> RuleFile:
        """Raises ConfigError with one line for each problem."""
        return parse_rules(self.content, str(self.file or DEFAULT_FILE.name), can_send)


def read_rules(file: Path | None) -> RuleSource:
    """Read a rule file, or the shipped one. Raises ConfigError if it cannot be read."""
    try:
        with (file or DEFAULT_FILE).open("rb") as opened:
            # One byte more than allowed, so that `parse` reports a longer file without reading all of it.
            return RuleSource(file, opened.read(MAX_SIZE_BYTES + 1))
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise ConfigError(f"{file}: cannot read the rule file: {reason}; correct notifier.rules_file") from error
