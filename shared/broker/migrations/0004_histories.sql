-- Positions know which log they belong to, and the outbox which database it belongs to (docs/promises.md).

-- With Kafka: the id of the topic that a position was made in, and the leader epoch of the last record before it. A
-- topic that was deleted and made anew has another id; a log that was truncated ends that epoch before the position.
ALTER TABLE broker.positions ADD COLUMN kafka_id uuid, ADD COLUMN leader_epoch bigint;
UPDATE broker.positions pos SET kafka_id = t.kafka_id FROM broker.topics t WHERE t.id = pos.topic_id;

-- What is known of the positions that are kept in Kafka: a lower bound, written now and then. It tells a group that
-- never read a partition from one whose offsets were lost.
CREATE TABLE broker.checkpoints (
    grp text NOT NULL,
    topic text NOT NULL,
    p bigint NOT NULL,
    next_off bigint NOT NULL,
    kafka_id uuid NOT NULL,
    at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (grp, topic, p)
) WITH (fillfactor = 50);

-- Records that were gone before a group read them. The group does not read the partition until a person accepts the
-- loss. The row stays: an acceptance holds for exactly this position and this topic.
CREATE TABLE broker.losses (
    grp text NOT NULL,
    topic text NOT NULL,
    p bigint NOT NULL,
    kind text NOT NULL CHECK (kind IN ('removed', 'truncated', 'recreated', 'forgotten')),
    position bigint NOT NULL,
    kafka_id uuid NOT NULL,
    continue_at bigint NOT NULL,
    records bigint NOT NULL CHECK (records >= 0),
    found_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    accepted_by text,
    accepted_at timestamptz,
    PRIMARY KEY (grp, topic, p)
);

-- The units that a slot has committed. A process whose number is ahead of it works on a database that went back.
ALTER TABLE broker.slots ADD COLUMN units bigint NOT NULL DEFAULT 0;

-- The identity of this database's outbox, in the keys of the relay's cursors in Kafka. Cursors of before have no
-- identity; they may count only in a database that existed then.
CREATE TABLE broker.outbox (
    only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    id uuid NOT NULL DEFAULT gen_random_uuid(),
    has_old_cursors boolean NOT NULL
);
INSERT INTO broker.outbox (has_old_cursors) SELECT EXISTS (SELECT FROM broker.topics WHERE name LIKE 'kafka:%');

-- How far the outbox is relayed, as far as the database knows, and a fingerprint of the last relayed batch.
ALTER TABLE broker.partitions ADD COLUMN relayed_off bigint, ADD COLUMN relayed_print text;
