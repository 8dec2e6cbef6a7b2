-- Retention of the embedded log. A batch may be deleted if it is too old, or if newer batches already fill the
-- partition's share of the size limit, and if every group that reads the topic is past it. The newest batch always stays,
-- because time queries need one.

-- The oldest batches of a partition, and what is known of each. `seconds`: since when it is too old. `bytes_through`: of
-- it and of the batches before it. `unread_by`: a group that has not read it.
CREATE FUNCTION broker.oldest_batches(topic integer, part integer, batches bigint)
RETURNS TABLE (topic_name text, base_off bigint, next_off bigint, seconds double precision, bytes_through numeric,
               is_newest boolean, expired boolean, unread_by text)
STABLE LANGUAGE sql AS $$
WITH kept AS (
    SELECT t.name, t.retention_s, t.retention_bytes / t.partitions AS share,
           (SELECT max(l.base_off) FROM broker.log l WHERE l.topic_id = topic AND l.p = part) AS newest,
           CASE WHEN t.retention_bytes IS NOT NULL THEN
               (SELECT sum(length(l.payload)) FROM broker.log l WHERE l.topic_id = topic AND l.p = part) END AS bytes
    FROM broker.topics t WHERE t.id = topic
), slowest AS (
    SELECT g.grp, g.next_off FROM broker.positions g WHERE g.topic_id = topic AND g.p = part
    ORDER BY g.next_off LIMIT 1
), oldest AS (
    SELECT l.base_off, l.base_off + l.n AS next_off, l.last_ms,
           sum(length(l.payload)) OVER (ORDER BY l.base_off) AS bytes_through
    FROM broker.log l WHERE l.topic_id = topic AND l.p = part ORDER BY l.base_off LIMIT batches
)
SELECT k.name, o.base_off, o.next_off, extract(epoch FROM now())::float8 - k.retention_s - o.last_ms / 1000.0,
       o.bytes_through::numeric, o.base_off = k.newest,
       coalesce(o.last_ms < (extract(epoch FROM now()) - k.retention_s) * 1000, false)
           OR coalesce(k.bytes - o.bytes_through >= k.share, false),
       (SELECT s.grp FROM slowest s WHERE s.next_off < o.next_off)
FROM oldest o CROSS JOIN kept k
$$;
REVOKE EXECUTE ON FUNCTION broker.oldest_batches FROM PUBLIC;

-- Deletes batches of one partition that have expired, and returns their number. It runs with the rights of its owner,
-- because no service may delete from the log by itself; it deletes nothing that is not due, whoever calls it. Only batches
-- before the first one that must stay are deleted, so that no gap appears (batches carry their writers' clocks, which may
-- differ).
CREATE FUNCTION broker.delete_expired(topic integer, part integer, max_batches bigint, max_bytes bigint)
RETURNS bigint LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    cut bigint;
    deleted bigint;
BEGIN
    IF (SELECT t.compacted FROM broker.topics t WHERE t.id = topic) THEN
        RETURN 0;
    END IF;
    WITH judged AS (SELECT * FROM broker.oldest_batches(topic, part, max_batches))
    SELECT max(j.next_off) INTO cut FROM judged j
    WHERE (j.base_off = (SELECT min(base_off) FROM judged) OR j.bytes_through <= max_bytes)
      AND j.base_off < coalesce(
          (SELECT min(base_off) FROM judged WHERE is_newest OR NOT expired OR unread_by IS NOT NULL), j.base_off + 1);
    IF cut IS NULL THEN
        RETURN 0;
    END IF;
    DELETE FROM broker.log l WHERE l.topic_id = topic AND l.p = part AND l.base_off < cut;
    GET DIAGNOSTICS deleted = ROW_COUNT;
    -- Last, because appends wait for its lock.
    UPDATE broker.partitions b SET begin_off = greatest(b.begin_off, cut) WHERE b.topic_id = topic AND b.p = part;
    RETURN deleted;
END
$$;
REVOKE EXECUTE ON FUNCTION broker.delete_expired FROM PUBLIC;
