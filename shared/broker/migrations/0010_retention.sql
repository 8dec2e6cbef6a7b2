-- Deletes expired batches. It runs with the rights of its owner, because no service may delete from the log by itself; it
-- deletes nothing that is not due, whoever calls it.
--
-- A batch may be deleted if it is too old, or newer batches already fill the partition's share of the size limit, and
-- every group that reads the topic is past it. Only batches before the first one that must stay are deleted, so that
-- no gap appears (batches carry their writers' clocks, which may differ). The newest batch always stays, because time
-- queries need one. Partitions are locked in the same order as by appends.
CREATE FUNCTION broker.delete_expired(max_batches bigint) RETURNS bigint LANGUAGE sql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
WITH aged AS (
    SELECT l.topic_id, l.p, l.base_off, l.n, l.last_ms, t.retention_s, t.retention_bytes, t.partitions,
           sum(length(l.payload)) OVER newer - length(l.payload) AS bytes_after,
           row_number() OVER newer AS newest, row_number() OVER older AS oldest
    FROM broker.log l JOIN broker.topics t ON t.id = l.topic_id
    WHERE t.retention_s IS NOT NULL OR t.retention_bytes IS NOT NULL
    WINDOW newer AS (PARTITION BY l.topic_id, l.p ORDER BY l.base_off DESC),
           older AS (PARTITION BY l.topic_id, l.p ORDER BY l.base_off)
), staying AS (
    SELECT a.topic_id, a.p, min(a.base_off) AS first FROM aged a
    WHERE a.newest = 1 OR a.oldest > max_batches
       OR NOT coalesce(a.last_ms < (extract(epoch FROM now()) - a.retention_s) * 1000, false)
          AND NOT coalesce(a.bytes_after >= a.retention_bytes / a.partitions, false)
       OR a.base_off + a.n > ANY (
          SELECT g.next_off FROM broker.positions g WHERE g.topic_id = a.topic_id AND g.p = a.p)
    GROUP BY a.topic_id, a.p
), gone AS (
    DELETE FROM broker.log l USING staying s
    WHERE l.topic_id = s.topic_id AND l.p = s.p AND l.base_off < s.first
    RETURNING l.topic_id, l.p, l.base_off + l.n AS next_off
), cut AS (
    SELECT topic_id, p, max(next_off) AS next_off, count(*) AS batches FROM gone GROUP BY topic_id, p
), locked AS (
    SELECT part.topic_id, part.p, cut.next_off FROM broker.partitions part JOIN cut USING (topic_id, p)
    ORDER BY part.topic_id, part.p FOR UPDATE OF part
), moved AS (
    UPDATE broker.partitions part SET begin_off = greatest(part.begin_off, locked.next_off) FROM locked
    WHERE part.topic_id = locked.topic_id AND part.p = locked.p RETURNING 1
)
SELECT coalesce(sum(batches), 0)::bigint FROM cut
$$;
REVOKE EXECUTE ON FUNCTION broker.delete_expired FROM PUBLIC;
