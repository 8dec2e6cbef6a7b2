-- Partitions that no replica handles until an operator decides; those with lost records are in broker.losses. `seq`: the
-- newest order that the loop obeyed; a newer resume order ends a hold. `continue_at`: an operator's decision to continue
-- there.
CREATE TABLE ops.holds (
    service text NOT NULL,
    topic text NOT NULL,
    p bigint NOT NULL,
    kind text NOT NULL CHECK (kind IN ('breaker', 'damaged')),
    cause jsonb NOT NULL,
    seq bigint NOT NULL,
    at timestamptz NOT NULL,
    continue_at bigint,
    PRIMARY KEY (service, topic, p, kind)
);
-- Partitions that a process handles; a row that outlasts its process shows that the process was killed
-- (shared/ops/tables/attempts.py).
CREATE TABLE ops.attempts (
    service text NOT NULL,
    topic text NOT NULL,
    p bigint NOT NULL,
    incarnation uuid NOT NULL,
    deaths bigint NOT NULL DEFAULT 0,
    at_offset bigint,
    PRIMARY KEY (service, topic, p)
) WITH (fillfactor = 50);
