"""Training jobs side by side, each in a process of its own that was forked for it: nothing is copied, one core each."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context

import torch
from threadpoolctl import threadpool_limits

from services.predictor.train import Job, Learned

# What the forked processes find in their copy of the memory.
_jobs: list[Job] = []
ORPHAN_CHECK_S = 1.0


def side_by_side(workers: int) -> Callable[[Sequence[Job], Callable[[int], None]], list[Learned]]:
    """As train.one_by_one, with so many processes. Which job runs where changes no bit of what it learns."""

    def run(jobs: Sequence[Job], done: Callable[[int], None]) -> list[Learned]:
        _jobs[:] = jobs
        try:
            with ProcessPoolExecutor(workers, get_context("fork"), _prepare, (os.getpid(),)) as pool:
                futures = [pool.submit(_do, index) for index in range(len(jobs))]
                for count, future in enumerate(as_completed(futures), start=1):
                    future.result()
                    done(count)
                return [future.result() for future in futures]
        finally:
            _jobs.clear()

    return run


def _prepare(parent: int) -> None:
    torch.set_num_threads(1)
    threadpool_limits(1)
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()


def _end_with(parent: int) -> None:
    """A parent that was killed tells nobody; without it nobody waits for the outcome."""
    while os.getppid() == parent:
        time.sleep(ORPHAN_CHECK_S)
    os._exit(1)


def _do(index: int) -> Learned:
    return _jobs[index]()
