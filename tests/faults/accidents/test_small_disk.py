"""A small disk is full after `fill`, also if others write to it meanwhile."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.faults.accidents.small_disk import can_mount

# In a process of its own, because the mounts of a process become private for good. The second file is what another
# program has written between the look at the free space and its use.
SCRIPT = """
import errno, os, sys
from pathlib import Path
from tests.faults.accidents import small_disk

small_disk.use_private_mounts()
folder = Path(sys.argv[1])
disk = small_disk.SmallDisk(folder, 1)
statvfs = os.statvfs

def stale(path):
    status = statvfs(path)
    (folder / "other").write_bytes(bytes(300_000))
    return status

os.statvfs = stale
disk.fill()
assert statvfs(folder).f_bavail == 0
try:
    (folder / "new").write_bytes(b"x")
except OSError as error:
    assert error.errno == errno.ENOSPC
else:
    raise AssertionError("there is space")
disk.free()
(folder / "new").write_bytes(b"x")
disk.close()
"""


@pytest.mark.skipif(not can_mount(), reason="needs root on Linux")
def test_a_disk_is_full_until_it_is_freed(tmp_path: Path) -> None:
    command = [sys.executable, "-c", SCRIPT, str(tmp_path / "disk")]

    result = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)

    assert (result.returncode, result.stderr) == (0, "")
