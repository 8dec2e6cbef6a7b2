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
from services.predictor.learners.serial import Run, one_by_one
from services.predictor.promotion.promote import Place, Train, Walk, promoted_or_refused, trained
from services.predictor.registry.states import Order
from services.predictor.training.request import TrainingContext, TrainingRequest
from shared.errors import HeadraceError
from shared.logs import configure, mask_text

NICENESS = 10
ORPHANED = 3

Say = Callable[..., None]


def serve(request: RawIOBase, say: Say, train: Train, walk: Walk | None, executor: Run = one_by_one) -> None:
    """Runs the job in the first line of `request`. Other exceptions end the process, and the job is tried again.

    `request` must be unbuffered: a thread that waits for a buffered stream holds its lock, and the interpreter could
    not exit.
    """
    asked: dict[str, Any] = orjson.loads(request.readline())
    threading.Thread(target=_end_with, args=(request,), name="parent", daemon=True).start()
    place = Place(asked["database_url"], Path(asked["models_dir"]), walk)
    order = Order(at=datetime.now(UTC), who=asked["who"], why=asked.get("reason"), request=asked["request"])
    try:
        context = TrainingContext(lambda text: say(said=text), lambda part: say(progress=part), executor)
        say(result=_done(asked, place, train, order, context))
    except HeadraceError as error:
        say(refused=mask_text(str(error)))
    except OSError as error:  # a full disk or missing permissions: another attempt would fail, too
        say(refused=f"{error.filename or 'the system'}: {error.strerror or error}")


def _done(asked: dict[str, Any], place: Place, train: Train, order: Order, context: TrainingContext) -> dict[str, Any]:
    if asked["kind"] == PROMOTION:
        verdict = promoted_or_refused(place, asked["version"], order)
        return {"version": asked["version"], "state": "live", "gate": verdict.why}
    request = TrainingRequest.model_validate({name: asked[name] for name in TrainingRequest.model_fields})
    return trained(place, train, request, order, context)


def _end_with(request: RawIOBase) -> None:
    """Exits when the input is closed. This is safe at any moment, because files are written whole or not at all."""
    request.read()
    os._exit(ORPHANED)


def unbuffered() -> FileIO:
    """Standard input without a buffer."""
    return FileIO(sys.stdin.fileno(), closefd=False)


def saying(output: BinaryIO) -> Say:
    lock = threading.Lock()

    def say(**words: Any) -> None:
        with lock:
            output.write(orjson.dumps(words, option=orjson.OPT_SERIALIZE_NUMPY) + b"\n")
            output.flush()

    return say


def parts() -> tuple[Train, Walk, Run]:
    """The functions to train and to compare, and the executor. Imported here, because torch takes seconds to import."""
    from services.predictor.learners.processes import side_by_side  # noqa: PLC0415
    from services.predictor.promotion.postgres_replayed_duel import walk  # noqa: PLC0415
    from services.predictor.training.candidate import train  # noqa: PLC0415

    return train, walk, side_by_side()


def main() -> None:
    configure("predictor")
    os.nice(NICENESS)
    # Libraries in C write to standard output too; their output goes to the log.
    output = os.fdopen(os.dup(sys.stdout.fileno()), "wb")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    serve(unbuffered(), saying(output), *parts())


if __name__ == "__main__":
    main()
