"""Small file systems in memory that can be filled. Needs root on Linux.

They are mounted in a mount namespace of this process and its children, so nothing remains mounted, however it ends.
"""

from __future__ import annotations

import ctypes
import errno
import os
import subprocess
import sys
from pathlib import Path

CLONE_NEWNS = 0x00020000
_FILLER = "filler"
PAGE = 4096


def can_mount() -> bool:
    return sys.platform == "linux" and os.geteuid() == 0


def use_private_mounts() -> None:
    """Call once, in the main thread, before other threads start."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(CLONE_NEWNS):
        raise OSError(ctypes.get_errno(), "unshare")
    subprocess.run(["mount", "--make-rprivate", "/"], check=True)


class SmallDisk:
    """A file system of `size_mb` at `folder`, which is created."""

    def __init__(self, folder: Path, size_mb: int) -> None:
        self._folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size_mb}m,mode=0700", "tmpfs", str(folder)], check=True)

    def fill(self) -> None:
        """To the last page, in pieces that get smaller: others write to the disk meanwhile."""
        free = os.statvfs(self._folder)
        piece, end = max(PAGE, free.f_bavail * free.f_frsize), 0
        with (self._folder / _FILLER).open("wb") as file:
            while piece >= PAGE:
                try:
                    os.posix_fallocate(file.fileno(), end, piece)
                    end += piece
                except OSError as error:
                    if error.errno != errno.ENOSPC:
                        raise
                    piece //= 2

    def free(self) -> None:
        (self._folder / _FILLER).unlink(missing_ok=True)

    def close(self) -> None:
        subprocess.run(["umount", "-l", str(self._folder)], check=True)
