"""The clock of other processes jumps, if libfaketime is installed: also that of a process that has changed its user."""

from __future__ import annotations

import os
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.faults.accidents.jumping_clock import JumpingClock, libfaketime, shared_by_all_users

TIME = ["date", "-u", "+%s"]
# It may pass through the directories of root, as the server may.
CAPABILITY = "-all,+dac_read_search"
AS_NOBODY = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", f"--inh-caps={CAPABILITY}",
             f"--ambient-caps={CAPABILITY}", "--"]  # fmt: skip


@pytest.mark.skipif(libfaketime() is None, reason="needs libfaketime")
@pytest.mark.parametrize(
    "user",
    [[], pytest.param(AS_NOBODY, marks=pytest.mark.skipif(os.geteuid() != 0, reason="only root changes its user"))],
)
def test_the_clock_jumps_and_is_set_right(tmp_path: Path, user: list[str]) -> None:
    with shared_by_all_users(f"headrace-test-{os.getpid()}") as shared:
        clock = JumpingClock(tmp_path / "clock", libfaketime(), shared)

        def now() -> datetime:
            command = [*user, *TIME]
            environment = {**os.environ, **clock.environment()}
            result = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=True)
            return datetime.fromtimestamp(int(result.stdout), UTC)

        clock.jump(-86_400)
        assert abs(datetime.now(UTC) - timedelta(days=1) - now()) < timedelta(hours=1)
        clock.jump(0)
        assert abs(datetime.now(UTC) - now()) < timedelta(hours=1)

    assert not list(Path("/dev/shm").glob(f"*headrace-test-{os.getpid()}*"))
