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

-- A group's position in a partition. A new owner raises the epoch; `advance` compares both (the fence).
CREATE TABLE broker.positions (
    grp text NOT NULL,
    topic_id integer NOT NULL REFERENCES broker.topics ON DELETE CASCADE,
    p integer NOT NULL,
    next_off bigint NOT NULL DEFAULT 0,
    epoch bigint NOT NULL DEFAULT 0,
    owner uuid,
    lease_until timestamptz,
    ctl_seq bigint,
    PRIMARY KEY (grp, topic_id, p)
) WITH (fillfactor = 50);

-- Who is in a group now, so that its members can share the partitions out.
CREATE TABLE broker.members (
    grp text NOT NULL,
    member uuid NOT NULL,
    topics text[] NOT NULL,
    alive_until timestamptz NOT NULL,
    PRIMARY KEY (grp, member)
);

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
