"""The limit of open files, in processes of their own: a lowered hard limit cannot be raised again."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.waiting import DEADLINE_S

PROGRAM = """
import resource
from shared.runtime.process.descriptors import raise_descriptor_limit
resource.setrlimit(resource.RLIMIT_NOFILE, ({soft}, {hard}))
print(raise_descriptor_limit({wanted}), resource.getrlimit(resource.RLIMIT_NOFILE)[0])
"""


@pytest.mark.parametrize(
    ("soft", "hard", "wanted", "limit"),
    [(128, 512, 256, 256), (128, 512, 1024, 512), (256, 512, 128, 256)],
    ids=["to what is wanted", "to the hard limit", "never down"],
)
def test_the_limit_is_raised(repository: Path, soft: int, hard: int, wanted: int, limit: int) -> None:
    program = PROGRAM.format(soft=soft, hard=hard, wanted=wanted)

    process = subprocess.run(
        [sys.executable, "-c", program], cwd=repository, capture_output=True, text=True, timeout=DEADLINE_S, check=False
    )

    assert process.stdout.split() == [str(limit)] * 2, process.stderr
