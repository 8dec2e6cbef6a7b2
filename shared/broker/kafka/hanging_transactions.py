"""Completes transactions that hang in a partition because their marker was never written.

A person is needed if the outcome is not known any more, or if this login must not read what the coordinators have
recorded or write the marker. The cause is then logged and returned, with a command of Kafka's own tools.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import closing
from typing import NamedTuple

import structlog
from kafka import KafkaAdminClient
from kafka import TopicPartition as ClientPartition
from kafka.admin import OffsetSpec

from shared.broker.contract import Record, TopicPartition
from shared.broker.hanging import Marker, OpenTransaction, RecordedState, Undecided, missing_marker
from shared.broker.kafka.client import translate_errors
from shared.broker.kafka.reader import KafkaReader
from shared.broker.kafka.transaction_log import (
    GROUP_LOG,
    TRANSACTION_LOG,
    partition_in_log,
    recorded_state,
    transactional_id_of,
)
from shared.broker.kafka.workarounds import refresh_nodes, write_marker
from shared.errors import ConfigError, TransientError

# The loop waits for it, and its watchdog ends the process after 60 s.
READ_TIMEOUT_S = 10.0
_READ_RECORDS = 5000

OpenReader = Callable[[TopicPartition], KafkaReader]

log = structlog.get_logger(__name__)


class Blocked(NamedTuple):
    """A transaction that is open in a partition. `is_active`: its producer or Kafka ends it; otherwise a person must
    act."""

    tp: TopicPartition
    cause: str
    is_active: bool = False


class HangingTransactions:
    """Not thread-safe, like the admin client."""

    def __init__(
        self, admin: KafkaAdminClient, open_reader: OpenReader, addresses: Sequence[str], prefix: str, principal: str
    ) -> None:
        """`open_reader`: of a partition, with the records of open transactions. `prefix`: that of the transactional ids
        that may be completed. `principal`: this login, for messages."""
        self._admin = admin
        self._open_reader = open_reader
        self._tool = f"--bootstrap-server {','.join(addresses)}"
        self._prefix = prefix
        self._principal = principal
        self._logged: set[str] = set()

    def repair_offsets(self, group: str) -> list[Blocked]:
        """As `repair`, for the transactions that may keep the offsets of a group unstable. `group`: its name on
        Kafka."""
        with translate_errors("looking for hanging transactions"):
            tp = TopicPartition(GROUP_LOG, partition_in_log(group, self._partitions(GROUP_LOG)))
        return self.repair([tp])

    def repair(self, tps: Collection[TopicPartition]) -> list[Blocked]:
        """Complete the transactions that hang in these partitions. Returns those that stay open.

        Raises TransientError if Kafka is unavailable.
        """
        blocked = [each for tp in sorted(tps) for each in self._repair(tp)]
        for each in blocked:
            if not each.is_active and each.cause not in self._logged:
                self._logged.add(each.cause)
                log.error("transaction_hangs", topic=each.tp.topic, partition=each.tp.partition, cause=each.cause)
        return blocked

    def _repair(self, tp: TopicPartition) -> Iterator[Blocked]:
        where = f"{tp.topic}/{tp.partition}"
        try:
            with translate_errors(f"looking for hanging transactions in {where}"):
                refresh_nodes(self._admin)
                transactions = self._open_transactions(tp)
                owners = self._owners([each.producer_id for each in transactions])
        except ConfigError as error:
            yield Blocked(tp, f"a transaction may hang in {where}: {self._refused(error)}")
            return
        for each in transactions:
            owner = owners.get(each.producer_id)
            if owner and tp.topic == GROUP_LOG and not owner.startswith(self._prefix):
                continue  # of the group of another program
            name = f"transaction {owner!r}" if owner else f"a transaction of producer {each.producer_id}"
            what = f"{name} is open in {where} since offset {each.start_offset}"
            undecided = self._complete(each, owner, what)
            if undecided is not None:
                yield Blocked(tp, f"{what}: {undecided.reason}", undecided.is_active)

    def _complete(self, transaction: OpenTransaction, owner: str | None, what: str) -> Undecided | None:
        """None if it is completed now, by this or otherwise."""
        if owner is None:
            return self._for_a_person(transaction, "this login sees no transactional id with this producer")
        if not owner.startswith(self._prefix):
            return self._for_a_person(transaction, "it belongs to another program")
        try:
            with translate_errors("reading the outcome"):
                decision = missing_marker(transaction, self._begun_ms(transaction), self._states(owner))
            if isinstance(decision, Undecided):
                return decision if decision.is_active else self._for_a_person(transaction, decision.reason)
            with translate_errors(f"writing the missing marker (it was {_outcome(decision)})"):
                # If it is still the same, it was not just being completed while the states were read.
                if transaction in self._open_transactions(transaction.tp):
                    write_marker(self._admin, decision)
                    log.warning("hanging_transaction_completed", outcome=_outcome(decision), transaction=what)
        except ConfigError as error:
            return Undecided(self._refused(error))
        return None

    def _open_transactions(self, tp: TopicPartition) -> list[OpenTransaction]:
        client_tp = ClientPartition(*tp)
        producers = self._admin.describe_producers([client_tp])[client_tp].active_producers
        return [
            OpenTransaction(
                tp, each.producer_id, each.producer_epoch, each.coordinator_epoch,
                each.current_transaction_start_offset, each.last_sequence, each.last_timestamp,
            )
            for each in producers
            if each.current_transaction_start_offset >= 0
        ]  # fmt: skip

    def _owners(self, producer_ids: Collection[int]) -> dict[int, str]:
        """The transactional ids by producer id."""
        if not producer_ids:
            return {}
        listings = self._admin.list_transactions(producer_id_filters=list(producer_ids)).values()
        return {each.producer_id: each.transactional_id for listing in listings for each in listing}

    def _begun_ms(self, transaction: OpenTransaction) -> int:
        first = next(self._records(transaction.tp, transaction.start_offset, transaction.start_offset + 1), None)
        if first is None:
            raise TransientError(f"offset {transaction.start_offset} of {transaction.tp} is not readable yet")
        return first.timestamp_ms

    def _states(self, transactional_id: str) -> list[RecordedState]:
        """Raises ConfigError if this version of Kafka records them in another format."""
        tp = TopicPartition(TRANSACTION_LOG, partition_in_log(transactional_id, self._partitions(TRANSACTION_LOG)))
        client_tp = ClientPartition(*tp)
        begin, end = (
            self._admin.list_partition_offsets({client_tp: spec})[client_tp].offset
            for spec in (OffsetSpec.EARLIEST, OffsetSpec.LATEST)
        )
        records = self._records(tp, begin, end)
        try:
            # A record without a value says that the id has expired.
            return [
                recorded_state(each.value)
                for each in records
                if each.value and transactional_id_of(each.key) == transactional_id
            ]
        except ValueError as error:
            raise ConfigError(str(error)) from error

    def _records(self, tp: TopicPartition, begin: int, end: int) -> Iterator[Record]:
        """The records from `begin` to before `end`; compaction may have removed some."""
        deadline_s = time.monotonic() + READ_TIMEOUT_S
        with closing(self._open_reader(tp)) as reader:
            reader.seek(tp, begin)
            while reader.position(tp) < end:
                if time.monotonic() > deadline_s:
                    raise TransientError(f"{tp.topic}/{tp.partition} could not be read within {READ_TIMEOUT_S:.0f} s")
                yield from (each for each in reader.poll(0.2, _READ_RECORDS) if each.offset < end)

    def _partitions(self, topic: str) -> int:
        return len(self._admin.describe_topics([topic])[0]["partitions"])

    def _for_a_person(self, transaction: OpenTransaction, reason: str) -> Undecided:
        tp = transaction.tp
        return Undecided(
            f"{reason}. Look at it with `kafka-transactions.sh {self._tool} describe-producers --topic {tp.topic}"
            f" --partition {tp.partition}`; `kafka-transactions.sh {self._tool} abort --topic {tp.topic} --partition"
            f" {tp.partition} --start-offset {transaction.start_offset}` ends it without its records"
        )

    def _refused(self, error: ConfigError) -> str:
        acls = f"kafka-acls.sh {self._tool} --add --allow-principal {self._principal}"
        return (
            f"{error}. Allow it with `{acls} --operation Read --topic {GROUP_LOG} --topic {TRANSACTION_LOG}` and"
            f" `{acls} --operation ClusterAction --cluster`; it is then completed without a restart"
        )


def _outcome(marker: Marker) -> str:
    return "committed" if marker.commits else "aborted"
