"""A process that exchanges JSON lines: its messages arrive complete and in order, and it always ends."""

from __future__ import annotations

import os
import signal
import sys
import textwrap
from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any

import pytest

from services.predictor.jobs.json_lines_process import JsonLinesProcess

WAIT_S = 60.0
Start = Callable[[str], JsonLinesProcess]


@pytest.fixture
def start_process() -> Iterator[Start]:
    processes: list[JsonLinesProcess] = []

    def start(code: str) -> JsonLinesProcess:
        processes.append(JsonLinesProcess([sys.executable, "-c", textwrap.dedent(code)]))
        return processes[-1]

    yield start
    for process in processes:
        process.stop()


def first_message(process: JsonLinesProcess) -> dict[str, Any]:
    return next(process.messages(WAIT_S))


def test_a_message_is_answered(start_process: Start) -> None:
    process = start_process("""
        import json, sys
        request = json.loads(sys.stdin.readline())
        print(json.dumps({"doubled": 2 * request["number"]}), flush=True)
        sys.stdin.read()
    """)

    process.send({"number": 21})

    assert first_message(process) == {"doubled": 42}


def test_all_that_a_process_wrote_before_it_ended_arrives_in_order(start_process: Start) -> None:
    process = start_process("""
        for number in range(20_000):
            print(f'{{"number": {number}}}')
    """)

    messages = [each for each in process.messages(WAIT_S) if each]

    assert [each["number"] for each in messages] == list(range(20_000))
    assert process.stop() == 0


def test_a_line_that_is_not_an_object_is_skipped(start_process: Start) -> None:
    process = start_process("""print('hello\\n[1]\\n{"half": \\n{"whole": 1}')""")

    assert [each for each in process.messages(WAIT_S) if each] == [{"whole": 1}]


def test_a_silent_process_yields_empty_messages(start_process: Start) -> None:
    process = start_process("import sys; sys.stdin.read()")

    assert list(islice(process.messages(0.01), 3)) == [{}, {}, {}]


def test_a_process_that_closes_its_output_is_waited_for(start_process: Start) -> None:
    process = start_process("""
        import os, sys
        os.close(1)
        sys.stdin.read(1)
        os._exit(3)
    """)
    messages = process.messages(0.01)
    assert next(messages) == {}

    process.send({})

    assert not any(messages)
    assert process.stop() == 3


def test_a_process_that_ignores_sigterm_is_killed(start_process: Start) -> None:
    process = start_process("""
        import signal, sys
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        print('{"ready": true}', flush=True)
        sys.stdin.read()
    """)
    assert first_message(process) == {"ready": True}

    assert process.stop() == -signal.SIGKILL


def test_the_end_of_a_process_does_not_wait_for_its_children(start_process: Start) -> None:
    process = start_process("""
        import os, signal, time
        forked = os.fork()
        if not forked:
            signal.pause()
        print(f'{{"forked": {forked}}}', flush=True)
        os._exit(4)
    """)

    messages = [each for each in process.messages(0.01) if each]

    os.kill(messages[0]["forked"], signal.SIGKILL)
    assert process.stop() == 4


def test_a_request_to_a_process_that_has_ended_is_not_an_error(start_process: Start) -> None:
    process = start_process("raise SystemExit(5)")
    assert not any(process.messages(WAIT_S))

    process.send({"number": 1})

    assert process.stop() == 5
