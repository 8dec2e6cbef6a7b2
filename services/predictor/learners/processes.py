"""Executor that runs jobs in forked processes, one core each. The jobs' data is shared by the fork, not copied."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from typing import Any

import torch
from threadpoolctl import threadpool_limits

from services.predictor.learners.serial import Executor, T, ignore_progress

# The forked processes find the jobs here, in their copy of the memory.
_jobs: list[Callable[[], Any]] = []
ORPHAN_CHECK_S = 1.0


def process_executor(workers: int | None = None) -> Executor:
    """An executor with `workers` processes; None: one per core, at most four. A job's result does not depend on the
    process that runs it."""
    size = workers or min(os.cpu_count() or 1, 4)

    def run(jobs: Sequence[Callable[[], T]], on_done: Callable[[int], None] = ignore_progress) -> list[T]:
        _jobs[:] = jobs
        try:
            with ProcessPoolExecutor(size, get_context("fork"), _init_worker, (os.getpid(),)) as pool:
                futures: list[Future[T]] = [pool.submit(_run_job, index) for index in range(len(jobs))]
                for count, future in enumerate(as_completed(futures), start=1):
                    future.result()
                    on_done(count)
                return [future.result() for future in futures]
        finally:
            _jobs.clear()

    return run


def use_single_thread() -> None:
    """Limits this process to one thread: with sums split over threads, the weights would depend on the number of
    cores."""
    torch.set_num_threads(1)
    threadpool_limits(1)


def _init_worker(parent: int) -> None:
    use_single_thread()
    threading.Thread(target=_exit_with_parent, args=(parent,), daemon=True).start()


def _exit_with_parent(parent: int) -> None:
    """Exits when the parent is gone: a killed parent sends no signal, and its workers' results are useless."""
    while os.getppid() == parent:
        time.sleep(ORPHAN_CHECK_S)
    os._exit(1)


def _run_job(index: int) -> Any:
    return _jobs[index]()
