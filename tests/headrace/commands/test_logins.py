"""Commands write to the audit trail as the owner: row security refuses their lines to the login of a service."""

from __future__ import annotations

import re
from pathlib import Path

# It passes the login of each service to that service, and names it with the settings of the service.
LOGINS = {"headrace/database/access.py", "headrace/run/programs.py"}
# It asks the promotion gate, which only reads.
READING = {"headrace/commands/promote.py"}


def test_no_command_that_writes_has_the_login_of_a_service(repository: Path) -> None:
    modules = {
        path.relative_to(repository).as_posix()
        for path in (repository / "headrace").rglob("*.py")
        if re.search(r"\.database\.conninfo\(|access\.service\(", path.read_text(encoding="utf-8"))
    }

    assert modules == LOGINS | READING
