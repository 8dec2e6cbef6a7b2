"""What may become of operations: the rules, and the rules as rows under commands, workers and crashes in any order."""

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
    state: State, wanted: Wanted, said: Command
) -> None:
    one = operation(state, wanted)
    if state not in OPEN_STATES or (wanted == "cancel" and said != "cancel"):
        with pytest.raises(NotPossible):
            wanted_after(one, said)
    else:
        after = wanted_after(one, said)
        assert after == {"pause": "pause", "resume": "run", "cancel": "cancel"}[said]
        assert wanted_after(operation(state, after), said) == after


def test_an_order_takes_no_job_command() -> None:
    for said in get_args(Command):
        with pytest.raises(NotPossible, match="pause"):
            wanted_after(operation(kind="pause"), said)


def test_a_job_without_a_worker_is_waiting_paused_or_cancelled() -> None:
    assert [resting_state(wanted) for wanted in get_args(Wanted)] == ["waiting", "paused", "cancelled"]


class OneJob(RuleBasedStateMachine):
    """One job, three workers and an operator. `made` is the fence: the worker whose producer was made last.

    A worker follows the rules of shared/runtime/jobs/loop.py: having claimed, it makes its producer; it asks what is
    wanted before each unit; a unit counts only while its producer is the newest. Any step may come at any time, so a
    worker may be stopped between any two of them and go on much later.
    """

    connection: psycopg.Connection[Any]

    def __init__(self) -> None:
        super().__init__()
        self.connection.execute("TRUNCATE ops.operations")
        self.id = operations_table.create(self.connection, "cleaner", KIND, {}, "test", "").id
        self.held: set[str] = set()  # claimed, and not known to be lost
        self.made: str | None = None
        self.may: dict[str, bool] = {}  # was told to run, and has not done its unit yet
        self.units = 0
        self.final: Operation | None = None

    def row(self) -> Operation:
        found = operations_table.get(self.connection, self.id)
        assert found is not None
        return found

    @rule(said=st.sampled_from(get_args(Command)))
    def the_operator_says(self, said: Command) -> None:
        before = self.row()
        try:
            after = operations_table.apply_command(self.connection, before, said)
        except NotPossible:
            assert not before.is_open or before.wanted == "cancel"
            assert self.row() == before
        else:
            assert after.wanted == wanted_after(before, said)

    @rule(worker=st.sampled_from(WORKERS))
    def a_worker_claims(self, worker: str) -> None:
        before = self.row()
        found = jobs_table.claim(self.connection, "cleaner", worker, [KIND])
        if found is not None:
            assert before.is_open
            self.held.add(worker)
            self.may.pop(worker, None)

    @rule()
    def the_lease_ends(self) -> None:
        self.connection.execute(
            "UPDATE ops.operations SET lease_until = clock_timestamp() - interval '1 s' WHERE lease_until IS NOT NULL"
        )

    @precondition(lambda self: self.held)
    @rule(data=st.data())
    def a_worker_makes_its_producer(self, data: st.DataObject) -> None:
        worker = data.draw(st.sampled_from(sorted(self.held)))
        if jobs_table.wanted_of(self.connection, self.id, worker) is None:
            self.lost(worker)
        else:
            self.made = worker

    @precondition(lambda self: self.made)
    @rule()
    def a_worker_asks(self) -> None:
        """The one whose producer is the newest; the others notice that they are fenced at their next unit."""
        worker = str(self.made)
        wanted = jobs_table.report_progress(self.connection, self.id, worker, {"units": self.units}, 0.5)
        if wanted is None:
            self.lost(worker)
        elif wanted == "run":
            self.may[worker] = True
        else:
            assert jobs_table.release(self.connection, self.id, worker)
            self.lost(worker)

    @precondition(lambda self: self.may)
    @rule(data=st.data())
    def a_worker_commits_its_unit(self, data: st.DataObject) -> None:
        worker = data.draw(st.sampled_from(sorted(self.may)))
        del self.may[worker]
        if worker != self.made:
            self.lost(worker)  # fenced
        else:
            self.units += 1

    @precondition(lambda self: self.made and not self.may.get(str(self.made)))
    @rule()
    def a_worker_is_done(self) -> None:
        worker = str(self.made)
        ours = self.row().worker == worker
        assert jobs_table.finish(self.connection, self.id, worker, "succeeded", {"units": self.units}) == ours
        self.lost(worker)

    @precondition(lambda self: self.held)
    @rule(data=st.data())
    def a_worker_crashes(self, data: st.DataObject) -> None:
        self.lost(data.draw(st.sampled_from(sorted(self.held))))

    def lost(self, worker: str) -> None:
        self.held.discard(worker)
        self.may.pop(worker, None)
        if self.made == worker:
            self.made = None

    @invariant()
    def what_is_over_never_changes(self) -> None:
        row = self.row()
        assert (row.finished_at is not None) == (row.state not in OPEN_STATES)
        if self.final is not None:
            assert row == self.final
        if not row.is_open:
            self.final = row

    @invariant()
    def at_rest_nothing_happens(self) -> None:
        """Paused or cancelled, no worker can have a unit that would still count."""
        if self.row().state in {"paused", "cancelled"}:
            assert not self.may.get(str(self.made))

    @invariant()
    def who_works_has_claimed(self) -> None:
        """Nobody works on what rests or is over."""
        row = self.row()
        assert row.worker is None or (row.is_open and row.worker in WORKERS)
        assert row.state != "waiting" or row.worker is not None or row.wanted == "run"

    def teardown(self) -> None:
        """However it stands: once somebody claims it, a cancel ends it."""
        if self.row().is_open:
            operations_table.apply_command(self.connection, self.row(), "cancel")
            self.the_lease_ends()
            if self.row().is_open:
                assert jobs_table.claim(self.connection, "cleaner", "undertaker", [KIND]) is not None
                assert jobs_table.release(self.connection, self.id, "undertaker")
            assert self.row().state == "cancelled"


def test_for_any_sequence_of_events_an_ended_job_stays_ended_and_one_worker_commits(database: psycopg.Connection[Any]) -> None:
    OneJob.connection = database
    run_state_machine_as_test(
        OneJob, settings=settings(max_examples=60, stateful_step_count=25, suppress_health_check=list(HealthCheck))
    )
