-- The log in segments (docs/adr/0019-log-segments.md). Retention drops the oldest one as a whole, which is cheaper than to
-- delete its batches, and gives the disk space back. Batches go to the newest segment, so a missing one stops no writer.
CREATE TABLE broker.segments (
    segment bigint PRIMARY KEY,
    opened_at timestamptz NOT NULL DEFAULT clock_timestamp()
);

-- The segment of a new batch. As a default it is computed while the partition's row is locked, and it reads what is
-- committed then: in one partition, segments grow with the offsets, whoever writes. Readers rely on that.
CREATE FUNCTION broker.newest_segment() RETURNS bigint
VOLATILE LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RETURN (SELECT max(s.segment) FROM broker.segments s);
END
$$;
REVOKE EXECUTE ON FUNCTION broker.newest_segment FROM PUBLIC;

-- The existing batches become segment 0 without a copy. The check of their column reads the table once, without payloads.
-- At the commit, clients find a table of the same name and columns.
-- squawk-ignore renaming-table
ALTER TABLE broker.log RENAME TO log_0;
-- squawk-ignore renaming-object
ALTER TABLE broker.log_0 RENAME CONSTRAINT log_pkey TO log_0_pkey;
ALTER TABLE broker.log_0 ADD COLUMN segment bigint NOT NULL DEFAULT 0;
-- It has no index of its own: those of the segments are unique, and the lock of the partition's row makes offsets unique.
CREATE TABLE broker.log (LIKE broker.log_0 INCLUDING CONSTRAINTS INCLUDING STORAGE) PARTITION BY LIST (segment);
ALTER TABLE broker.log ALTER COLUMN segment SET DEFAULT broker.newest_segment();
ALTER TABLE broker.log ATTACH PARTITION broker.log_0 FOR VALUES IN (0);
-- squawk-ignore ban-drop-default
ALTER TABLE broker.log_0 ALTER COLUMN segment DROP DEFAULT;
INSERT INTO broker.segments (segment, opened_at)
SELECT 0, coalesce(to_timestamp(min(first_ms) / 1000.0), clock_timestamp()) FROM broker.log_0;

-- Opens the next segment if the newest one has batches and is older than a quarter of the shortest retention, at least a
-- day and at most 31 days. At most 12 segments exist, because a reader that begins somewhere searches all of them. It
-- runs with the rights of its owner; whoever calls it, it does nothing that is not due.
CREATE FUNCTION broker.open_segment() RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET lock_timeout = '200ms' AS $$
DECLARE
    newest broker.segments;
    shortest_s float8 := (SELECT min(t.retention_s) FROM broker.topics t WHERE NOT t.compacted);
    table_name text;
BEGIN
    SELECT * INTO STRICT newest FROM broker.segments ORDER BY segment DESC LIMIT 1;
    IF newest.opened_at > clock_timestamp() - make_interval(secs => greatest(86400, least(31 * 86400, shortest_s / 4)))
        OR (SELECT count(*) FROM broker.segments) >= 12
        OR NOT EXISTS (SELECT FROM broker.log l WHERE l.segment = newest.segment) THEN
        RETURN false;
    END IF;
    -- A statement that has begun knows the tables of then, but would compute the new number: let it end, and others wait.
    LOCK TABLE ONLY broker.log IN SHARE ROW EXCLUSIVE MODE;
    table_name := 'log_' || newest.segment + 1;
    EXECUTE format('CREATE TABLE broker.%I (LIKE broker.log INCLUDING CONSTRAINTS INCLUDING STORAGE,'
        ' PRIMARY KEY (topic_id, p, base_off))', table_name);
    EXECUTE format('ALTER TABLE broker.log ATTACH PARTITION broker.%I FOR VALUES IN (%s)', table_name, newest.segment + 1);
    INSERT INTO broker.segments (segment) VALUES (newest.segment + 1);
    RETURN true;
END
$$;
REVOKE EXECUTE ON FUNCTION broker.open_segment FROM PUBLIC;

-- The end of each partition in a segment that is followed by another one since `sealed_at`, and the batch from which on its
-- batches must stay: they have not expired, a group has not read them, or it is the newest of the partition.
CREATE FUNCTION broker.segment_ends(seg bigint, sealed_at timestamptz)
RETURNS TABLE (topic_id integer, p integer, next_off bigint, stays_from bigint) STABLE LANGUAGE sql AS $$
SELECT part.topic_id, part.p, newest.next_off, CASE WHEN stays.off < newest.next_off THEN coalesce(
    (SELECT max(l.base_off) FROM broker.log l
        WHERE l.segment = seg AND l.topic_id = part.topic_id AND l.p = part.p AND l.base_off <= stays.off),
    stays.off) END
FROM broker.partitions part JOIN broker.topics t ON t.id = part.topic_id
CROSS JOIN LATERAL (
    SELECT l.base_off, l.base_off + l.n AS next_off FROM broker.log l
    WHERE l.segment = seg AND l.topic_id = part.topic_id AND l.p = part.p ORDER BY l.base_off DESC LIMIT 1) newest
CROSS JOIN LATERAL (SELECT least(
    CASE WHEN sealed_at < now() - make_interval(secs => t.retention_s) THEN NULL ELSE 0 END,
    (SELECT min(g.next_off) FROM broker.positions g WHERE g.topic_id = part.topic_id AND g.p = part.p),
    CASE WHEN newest.next_off = part.end_off THEN newest.base_off END) AS off) stays
$$;
REVOKE EXECUTE ON FUNCTION broker.segment_ends FROM PUBLIC;

-- Drops the oldest segment if nothing of it must stay, or, once the shortest retention has passed, little: then the next
-- segment takes the rest. Returns the number of its batches, an estimate, or 0. The lock stops readers and writers while
-- the rest is moved, and while it is waited for: someone may read the log for long. It runs with the rights of its owner.
CREATE FUNCTION broker.drop_segment(max_batches bigint, max_bytes bigint) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET lock_timeout = '200ms'
-- Few batches must stay, so each partition is searched by its index; the planner would expect many and read the segment.
SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off AS $$
DECLARE
    oldest broker.segments;
    next broker.segments;
    shortest_s float8 := (SELECT min(t.retention_s) FROM broker.topics t WHERE NOT t.compacted);
    batches bigint;
    bytes bigint;
BEGIN
    SELECT * INTO STRICT oldest FROM broker.segments ORDER BY segment LIMIT 1;
    SELECT * INTO next FROM broker.segments WHERE segment > oldest.segment ORDER BY segment LIMIT 1;
    IF next IS NULL THEN
        RETURN 0;
    END IF;
    WITH ends AS MATERIALIZED (
        SELECT * FROM broker.segment_ends(oldest.segment, next.opened_at)
    )
    SELECT count(*), coalesce(sum(stays.bytes), 0) INTO batches, bytes FROM (
        SELECT length(l.payload) AS bytes FROM ends e
        JOIN broker.log l ON l.topic_id = e.topic_id AND l.p = e.p AND l.base_off >= e.stays_from
        WHERE l.segment = oldest.segment LIMIT max_batches + 1) stays;
    IF batches > max_batches OR bytes > max_bytes OR batches > 0
        AND NOT coalesce(next.opened_at < now() - make_interval(secs => shortest_s), false) THEN
        RETURN 0;
    END IF;
    LOCK TABLE ONLY broker.log IN ACCESS EXCLUSIVE MODE;
    WITH ends AS MATERIALIZED (
        SELECT * FROM broker.segment_ends(oldest.segment, next.opened_at)
    ), begins AS (
        UPDATE broker.partitions b SET begin_off = greatest(b.begin_off, coalesce(e.stays_from, e.next_off))
        FROM ends e WHERE b.topic_id = e.topic_id AND b.p = e.p
    )
    UPDATE broker.log l SET segment = next.segment FROM ends e
    WHERE l.segment = oldest.segment AND l.topic_id = e.topic_id AND l.p = e.p AND l.base_off >= e.stays_from;
    batches := (SELECT greatest(1, c.reltuples) FROM pg_class c
        WHERE c.oid = ('broker.log_' || oldest.segment)::regclass);
    EXECUTE format('DROP TABLE broker.%I', 'log_' || oldest.segment);
    DELETE FROM broker.segments s WHERE s.segment = oldest.segment;
    RETURN batches;
END
$$;
REVOKE EXECUTE ON FUNCTION broker.drop_segment FROM PUBLIC;

-- As before, but a batch of a segment that is not the newest waits for the segment's end, at most a third of the
-- retention. It is deleted then: other batches of the segment must stay for longer.
CREATE OR REPLACE FUNCTION broker.oldest_batches(topic integer, part integer, batches bigint)
RETURNS TABLE (topic_name text, base_off bigint, next_off bigint, seconds double precision, bytes_through numeric,
               is_newest boolean, expired boolean, unread_by text)
STABLE LANGUAGE sql AS $$
WITH kept AS (
    SELECT t.name, t.retention_s, t.retention_bytes / t.partitions AS share,
           (SELECT max(l.base_off) FROM broker.log l WHERE l.topic_id = topic AND l.p = part) AS newest,
           (SELECT max(s.segment) FROM broker.segments s) AS newest_segment,
           CASE WHEN t.retention_bytes IS NOT NULL THEN
               (SELECT sum(length(l.payload)) FROM broker.log l WHERE l.topic_id = topic AND l.p = part) END AS bytes
    FROM broker.topics t WHERE t.id = topic
), slowest AS (
    SELECT g.grp, g.next_off FROM broker.positions g WHERE g.topic_id = topic AND g.p = part
    ORDER BY g.next_off LIMIT 1
), oldest AS (
    SELECT l.base_off, l.base_off + l.n AS next_off, l.last_ms, l.segment,
           sum(length(l.payload)) OVER (ORDER BY l.base_off) AS bytes_through
    FROM broker.log l WHERE l.topic_id = topic AND l.p = part ORDER BY l.base_off LIMIT batches
), aged AS (
    SELECT o.*, extract(epoch FROM now())::float8 - o.last_ms / 1000.0
        - k.retention_s * CASE WHEN o.segment < k.newest_segment THEN 4 / 3.0 ELSE 1 END AS seconds
    FROM oldest o CROSS JOIN kept k
)
SELECT k.name, o.base_off, o.next_off, o.seconds, o.bytes_through::numeric, o.base_off = k.newest,
       coalesce(o.seconds > 0, false) OR coalesce(k.bytes - o.bytes_through >= k.share, false),
       (SELECT s.grp FROM slowest s WHERE s.next_off < o.next_off)
FROM aged o CROSS JOIN kept k
$$;

-- A segment of its own for what comes, so that the existing batches go at once when all have expired.
DO $$ BEGIN PERFORM broker.open_segment(); END $$;
