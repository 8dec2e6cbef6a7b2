"""Replicas that come and go at random, without any setting, lose nothing and write nothing twice."""

from __future__ import annotations

import gc

import pytest

from tests.faults.churn import churn
from tests.faults.schedule import EMBEDDED, KAFKA
from tests.faults.suite import run_directory
from tests.kafka.jars import KafkaMissingError, jars, java

pytestmark = pytest.mark.slow
ACTIONS = 8
# kafka-python does not close a socket whose connection was refused; garbage collection at the end of the test does.
ON_KAFKA = [pytest.mark.long, pytest.mark.kafka, pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")]


@pytest.mark.parametrize("broker", [EMBEDDED, pytest.param(KAFKA, marks=ON_KAFKA)])
def test_replicas_that_come_and_go_do_not_change_the_result(broker: str) -> None:
    if broker == KAFKA:
        try:
            java(), jars()
        except KafkaMissingError as error:
            pytest.skip(str(error))
    with run_directory() as directory:
        problems = churn(broker, directory, seed=1, actions=ACTIONS, log=print)
    gc.collect()

    assert problems == []
