-- The embedded log: record batches per partition, positions, leases and keyed state.
CREATE SCHEMA broker;

CREATE TABLE broker.topics (
    id integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name text NOT NULL UNIQUE,
    partitions integer NOT NULL CHECK (partitions > 0),
    compacted boolean NOT NULL,
    retention_s double precision,
    retention_bytes bigint
);

-- end_off is the offset the next record gets. The row's lock makes offsets gapless and visible in order.
CREATE TABLE broker.partitions (
    topic_id integer NOT NULL REFERENCES broker.topics ON DELETE CASCADE,
    p integer NOT NULL,
    begin_off bigint NOT NULL DEFAULT 0,
    end_off bigint NOT NULL DEFAULT 0,
    PRIMARY KEY (topic_id, p)
) WITH (fillfactor = 50);

-- One row is one batch: what one unit appended to one partition. Compressed by the client, so never by the server.
CREATE TABLE broker.log (
    topic_id integer NOT NULL,
    p integer NOT NULL,
    base_off bigint NOT NULL,
    n integer NOT NULL CHECK (n > 0),
    first_ms bigint NOT NULL,
    last_ms bigint NOT NULL,
    payload bytea NOT NULL,
    PRIMARY KEY (topic_id, p, base_off)
);
ALTER TABLE broker.log ALTER COLUMN payload SET STORAGE EXTERNAL;

-- A group's position in a partition. `advance` compares position and epoch (the fence); a new owner raises the epoch.
CREATE TABLE broker.positions (
    grp text NOT NULL,
    topic_id integer NOT NULL REFERENCES broker.topics ON DELETE CASCADE,
    p integer NOT NULL,
    next_off bigint NOT NULL DEFAULT 0,
    epoch bigint NOT NULL DEFAULT 0,
    ctl_seq bigint,
    PRIMARY KEY (grp, topic_id, p)
) WITH (fillfactor = 50);

-- Who may work on a partition, until when. Apart from positions, so that renewing never waits for a unit.
CREATE TABLE broker.leases (
    grp text NOT NULL,
    topic_id integer NOT NULL REFERENCES broker.topics ON DELETE CASCADE,
    p integer NOT NULL,
    owner text NOT NULL,
    incarnation uuid NOT NULL,
    lease_until timestamptz NOT NULL,
    PRIMARY KEY (grp, topic_id, p)
) WITH (fillfactor = 50);

-- Who is in a group now, so that its members can share the partitions out. `member` is a replica's slot: a process
-- that starts again under the same slot is the same member and takes its leases over at once.
CREATE TABLE broker.members (
    grp text NOT NULL,
    member text NOT NULL,
    incarnation uuid NOT NULL,
    alive_until timestamptz NOT NULL,
    PRIMARY KEY (grp, member)
) WITH (fillfactor = 50);

-- A producer's slot: making a producer raises the epoch, and units of an older epoch are fenced.
CREATE TABLE broker.slots (
    name text PRIMARY KEY,
    epoch bigint NOT NULL
);

CREATE TABLE broker.cursors (
    topic_id integer NOT NULL REFERENCES broker.topics ON DELETE CASCADE,
    key text NOT NULL,
    value bytea NOT NULL,
    PRIMARY KEY (topic_id, key)
);
