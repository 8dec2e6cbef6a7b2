-- What waited for each service, once a minute (shared/ops/tables/lag_history.py). `position`: sum over the partitions of
-- the offsets that the service has handled, so that two rows give a rate.
CREATE TABLE ops.lag_history (
    at timestamptz NOT NULL,
    service text NOT NULL,
    topic text NOT NULL,
    records bigint NOT NULL,
    seconds double precision,
    position bigint NOT NULL,
    PRIMARY KEY (at, service, topic)
);
