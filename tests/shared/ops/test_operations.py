"""States of operations: the rules, and rows in a database under commands, workers and crashes in any order."""

from __future__ import annotations

from typing import Any, get_args

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from shared.ops.operations import (
    OPEN_STATES,
    Command,
    NotPossible,
    Operation,
    State,
    Wanted,
    resting_state,
    wanted_after,
)
from shared.ops.tables import jobs as jobs_table
from shared.ops.tables import operations as operations_table

pytestmark = pytest.mark.slow
WORKERS = ("one", "two", "three")
KIND = "replay"


def operation(state: State = "running", wanted: Wanted = "run", kind: str = KIND) -> Operation:
    return Operation("000000000001", "cleaner", kind, state, wanted, {})


@given(st.sampled_from(get_args(State)), st.sampled_from(get_args(Wanted)), st.sampled_from(get_args(Command)))
def test_an_ended_operation_takes_no_command_and_a_cancel_is_final(
    state: State, wanted: Wanted, command: Command
) -> None:
    before = operation(state, wanted)
    if state not in OPEN_STATES or (wanted == "cancel" and command != "cancel"):
        with pytest.raises(NotPossible):
            wanted_after(before, command)
    else:
        after = wanted_after(before, command)
        assert after == {"pause": "pause", "resume": "run", "cancel": "cancel"}[command]
        assert wanted_after(operation(state, after), command) == after


def test_an_order_takes_no_job_command() -> None:
    for command in get_args(Command):
        with pytest.raises(NotPossible, match="pause"):
            wanted_after(operation(kind="pause"), command)


def test_a_job_without_a_worker_is_waiting_paused_or_cancelled() -> None:
    assert [resting_state(wanted) for wanted in get_args(Wanted)] == ["waiting", "paused", "cancelled"]


class OneJob(RuleBasedStateMachine):
    """One job, three workers and an operator. `fence`: the worker whose producer was created last.

    A worker follows shared/runtime/jobs/loop.py: after its claim it creates its producer; before each unit it reads the
    requested state; a unit is committed only while its producer is the newest. Steps come in any order, so a worker may
    stop between any two of them and continue much later.
    """

    connection: psycopg.Connection[Any]

    def __init__(self) -> None:
        super().__init__()
        self.connection.execute("TRUNCATE ops.operations")
        self.id = operations_table.create(self.connection, "cleaner", KIND, {}, "test", "").id
        self.claimants: set[str] = set()  # they have claimed the job and do not know of a loss
        self.fence: str | None = None
        self.may_commit: dict[str, bool] = {}  # they have read `run` and have not committed their unit
        self.units = 0
        self.final: Operation | None = None

    def row(self) -> Operation:
        operation = operations_table.get(self.connection, self.id)
        assert operation is not None
        return operation

    @rule(command=st.sampled_from(get_args(Command)))
    def the_operator_sends_a_command(self, command: Command) -> None:
        before = self.row()
        try:
            after = operations_table.apply_command(self.connection, before, command)
        except NotPossible:
            assert not before.is_open or before.wanted == "cancel"
            assert self.row() == before
        else:
            assert after.wanted == wanted_after(before, command)

    @rule(worker=st.sampled_from(WORKERS))
    def a_worker_claims(self, worker: str) -> None:
        before = self.row()
        claimed = jobs_table.claim(self.connection, "cleaner", worker, [KIND])
        if claimed is not None:
            assert before.is_open
            self.claimants.add(worker)
            self.may_commit.pop(worker, None)

    @rule()
    def the_lease_ends(self) -> None:
        self.connection.execute(
            "UPDATE ops.operations SET lease_until = clock_timestamp() - interval '1 s' WHERE lease_until IS NOT NULL"
        )

    @precondition(lambda self: self.claimants)
    @rule(data=st.data())
    def a_worker_creates_its_producer(self, data: st.DataObject) -> None:
        worker = data.draw(st.sampled_from(sorted(self.claimants)))
        if jobs_table.wanted_of(self.connection, self.id, worker) is None:
            self.drop(worker)
        else:
            self.fence = worker

    @precondition(lambda self: self.fence)
    @rule()
    def a_worker_reports_progress(self) -> None:
        """Only the worker with the newest producer; the others notice at their next unit that they are fenced."""
        worker = str(self.fence)
        wanted = jobs_table.report_progress(self.connection, self.id, worker, {"units": self.units}, 0.5)
        if wanted is None:
            self.drop(worker)
        elif wanted == "run":
            self.may_commit[worker] = True
        else:
            assert jobs_table.release(self.connection, self.id, worker)
            self.drop(worker)

    @precondition(lambda self: self.may_commit)
    @rule(data=st.data())
    def a_worker_commits_its_unit(self, data: st.DataObject) -> None:
        worker = data.draw(st.sampled_from(sorted(self.may_commit)))
        del self.may_commit[worker]
        if worker != self.fence:
            self.drop(worker)  # fenced
        else:
            self.units += 1

    @precondition(lambda self: self.fence and not self.may_commit.get(str(self.fence)))
    @rule()
    def a_worker_finishes(self) -> None:
        worker = str(self.fence)
        has_claim = self.row().worker == worker
        assert jobs_table.finish(self.connection, self.id, worker, "succeeded", {"units": self.units}) == has_claim
        self.drop(worker)

    @precondition(lambda self: self.claimants)
    @rule(data=st.data())
    def a_worker_crashes(self, data: st.DataObject) -> None:
        self.drop(data.draw(st.sampled_from(sorted(self.claimants))))

    def drop(self, worker: str) -> None:
        self.claimants.discard(worker)
        self.may_commit.pop(worker, None)
        if self.fence == worker:
            self.fence = None

    @invariant()
    def an_ended_job_never_changes(self) -> None:
        row = self.row()
        assert (row.finished_at is not None) == (row.state not in OPEN_STATES)
        if self.final is not None:
            assert row == self.final
        if not row.is_open:
            self.final = row

    @invariant()
    def a_paused_or_cancelled_job_commits_nothing(self) -> None:
        """No worker has a unit that could still be committed."""
        if self.row().state in {"paused", "cancelled"}:
            assert not self.may_commit.get(str(self.fence))

    @invariant()
    def only_an_open_job_has_a_worker(self) -> None:
        row = self.row()
        assert row.worker is None or (row.is_open and row.worker in WORKERS)
        assert row.state != "waiting" or row.worker is not None or row.wanted == "run"

    def teardown(self) -> None:
        """In every state: after a claim, a cancel ends the job."""
        if self.row().is_open:
            operations_table.apply_command(self.connection, self.row(), "cancel")
            self.the_lease_ends()
            if self.row().is_open:
                assert jobs_table.claim(self.connection, "cleaner", "last", [KIND]) is not None
                assert jobs_table.release(self.connection, self.id, "last")
            assert self.row().state == "cancelled"


def test_for_any_sequence_of_events_an_ended_job_stays_ended_and_one_worker_commits(
    database: psycopg.Connection[Any],
) -> None:
    OneJob.connection = database
    run_state_machine_as_test(
        OneJob, settings=settings(max_examples=60, stateful_step_count=25, suppress_health_check=list(HealthCheck))
    )
