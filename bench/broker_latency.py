"""Measures the latency of single records: from a record's commit until a reader gets the worker's output for it.

The worker is another process. Both the worker and the reader are waiting when the record is committed.
"""

from __future__ import annotations

import time
from contextlib import closing

from bench.broker_rates import running_workers
from bench.broker_site import BrokerSite, new_topic, record
from bench.broker_workers import runtime

RECORDS = 100
# Long enough that the previous record is finished.
PAUSE_S = 0.1
GIVE_UP_S = 30.0


def latencies_ms(site: BrokerSite) -> list[float]:
    """Latencies of RECORDS records in milliseconds, sorted."""
    waits_ms = []
    with closing(site.broker()) as broker:
        source, target = new_topic(broker), new_topic(broker)
        tps = broker.partitions(target)
        with (
            running_workers(site, runtime, 1, source, target) as (_, go),
            closing(broker.producer(f"latency-{source}")) as producer,
            closing(broker.reader(tps)) as reader,
        ):
            go.set()
            for tp in tps:
                reader.seek(tp, 0)
            for number in range(-5, RECORDS):  # the first records warm up caches and connections
                reader.poll(PAUSE_S, 1)
                with producer.unit() as unit:
                    unit.append([record(source, number)])
                    unit.commit()
                committed_s = time.perf_counter()
                while not reader.poll(1.0, 10):
                    if time.perf_counter() - committed_s > GIVE_UP_S:
                        raise SystemExit(f"bench: no output for a record within {GIVE_UP_S:.0f} s")
                if number >= 0:
                    waits_ms.append((time.perf_counter() - committed_s) * 1000)
    return sorted(waits_ms)
