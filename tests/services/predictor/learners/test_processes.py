"""The executor that runs jobs in other processes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest
import torch

from services.predictor.learners.network.network import Network
from services.predictor.learners.processes import process_executor
from tests.services.predictor.learners.network.synthetic_inputs import shape
from tests.waiting import wait_until

pytestmark = pytest.mark.slow

JobResult = tuple[Network, tuple[float, float, float]]


def random_network(number: int) -> JobResult:
    torch.manual_seed(number)
    return Network(shape(3)), (float(number), float(os.getpid()), float(torch.get_num_threads()))


def failing_job(number: int) -> JobResult:
    raise FloatingPointError(f"job {number}")


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_results_come_in_the_order_of_the_jobs_from_other_processes() -> None:
    done: list[int] = []

    results = process_executor(2)([partial(random_network, number) for number in range(4)], done.append)

    assert [curve[0] for _, curve in results] == [0, 1, 2, 3]
    assert done == [1, 2, 3, 4]
    assert os.getpid() not in {int(curve[1]) for _, curve in results}
    assert {curve[2] for _, curve in results} == {1.0}
    for number, (network, _) in enumerate(results):
        expected, _ = random_network(number)
        assert torch.equal(network.entry_in.weight, expected.entry_in.weight)


def test_an_error_of_a_job_is_raised_and_the_next_run_works() -> None:
    with pytest.raises(FloatingPointError, match="job 1"):
        process_executor(2)([partial(random_network, 0), partial(failing_job, 1)], lambda _: None)

    assert [curve[0] for _, curve in process_executor(1)([partial(random_network, 5)], lambda _: None)] == [5]


def test_a_killed_parent_leaves_no_worker_behind(tmp_path: Path) -> None:
    command = (sys.executable, "-m", "tests.services.predictor.training_process", "endless", str(tmp_path), "2")
    parent = subprocess.Popen(command)
    try:
        wait_until(lambda: len(list(tmp_path.iterdir())) == 2)
    finally:
        parent.send_signal(signal.SIGKILL)
        parent.wait()

    workers = [int(path.name) for path in tmp_path.iterdir()]
    try:
        wait_until(lambda: not any(map(alive, workers)))
    finally:
        for worker in filter(alive, workers):
            os.kill(worker, signal.SIGKILL)
