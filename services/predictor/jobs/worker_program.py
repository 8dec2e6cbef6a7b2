"""A process that runs one training or promotion and exits, so that the memory of torch is freed.

It reads one line of JSON from standard input (the database URL holds a password, which must not be on a command line).
It writes lines of JSON to standard output: {"progress": 0.2} and {"said": "..."} while it works, and at the end
{"result": {...}} or {"refused": "why"}. Any other exit counts as a crash. It exits when stdin closes, i.e. when its
parent is gone.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from io import FileIO, RawIOBase
from pathlib import Path
from typing import Any, BinaryIO

import orjson

from services.predictor.jobs.kinds import PROMOTION
from services.predictor.learners.serial import Executor, serial_executor
from services.predictor.promotion.promote import (
    CompareOnHistory,
    PromotionSetup,
    TrainCandidate,
    promote_or_raise,
    train_and_promote,
)
from services.predictor.registry.states import ChangeRequest
from services.predictor.training.request import TrainingContext, TrainingRequest
from shared.errors import HeadraceError
from shared.logs import configure, mask_text

NICENESS = 10
EXIT_ORPHANED = 3

SendMessage = Callable[..., None]


def serve(
    request: RawIOBase,
    send: SendMessage,
    train: TrainCandidate,
    compare_on_history: CompareOnHistory | None,
    executor: Executor = serial_executor,
) -> None:
    """Runs the job in the first line of `request`. Other exceptions end the process, and the job is tried again.

    `request` must be unbuffered: a thread that waits for a buffered stream holds its lock, and the interpreter could
    not exit.
    """
    job: dict[str, Any] = orjson.loads(request.readline())
    threading.Thread(target=_exit_when_closed, args=(request,), name="parent", daemon=True).start()
    setup = PromotionSetup(job["database_url"], Path(job["models_dir"]), compare_on_history)
    change_request = ChangeRequest(at=datetime.now(UTC), who=job["who"], why=job.get("reason"), request=job["request"])
    try:
        context = TrainingContext(lambda text: send(said=text), lambda part: send(progress=part), executor)
        send(result=_run_job(job, setup, train, change_request, context))
    except HeadraceError as error:
        send(refused=mask_text(str(error)))
    except OSError as error:  # a full disk or missing permissions: another attempt would fail, too
        send(refused=f"{error.filename or 'the system'}: {error.strerror or error}")


def _run_job(
    job: dict[str, Any],
    setup: PromotionSetup,
    train: TrainCandidate,
    change_request: ChangeRequest,
    context: TrainingContext,
) -> dict[str, Any]:
    if job["kind"] == PROMOTION:
        verdict = promote_or_raise(setup, job["version"], change_request)
        return {"version": job["version"], "state": "live", "gate": verdict.why}
    request = TrainingRequest.model_validate({name: job[name] for name in TrainingRequest.model_fields})
    return train_and_promote(setup, train, request, change_request, context)


def _exit_when_closed(request: RawIOBase) -> None:
    """Exits when the input is closed. This is safe at any moment, because files are written whole or not at all."""
    request.read()
    os._exit(EXIT_ORPHANED)


def unbuffered_stdin() -> FileIO:
    """Standard input without a buffer."""
    return FileIO(sys.stdin.fileno(), closefd=False)


def message_sender(output: BinaryIO) -> SendMessage:
    lock = threading.Lock()

    def send(**fields: Any) -> None:
        with lock:
            output.write(orjson.dumps(fields, option=orjson.OPT_SERIALIZE_NUMPY) + b"\n")
            output.flush()

    return send


def components() -> tuple[TrainCandidate, CompareOnHistory, Executor]:
    """The functions to train and to compare, and the executor. Imported here, because torch takes seconds to import."""
    from services.predictor.learners.processes import process_executor  # noqa: PLC0415
    from services.predictor.promotion.postgres_replayed_duel import compare_on_history  # noqa: PLC0415
    from services.predictor.training.candidate import train  # noqa: PLC0415

    return train, compare_on_history, process_executor()


def main() -> None:
    configure("predictor")
    os.nice(NICENESS)
    # Libraries in C write to standard output too; their output goes to the log.
    output = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    serve(unbuffered_stdin(), message_sender(output), *components())


if __name__ == "__main__":
    main()
