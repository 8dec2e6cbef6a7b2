-- The kind of broker that this database is used with. With another one, everything would be fetched and loaded again.
CREATE TABLE broker.kind (
    only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    kind text NOT NULL CHECK (kind IN ('embedded', 'kafka'))
);
-- Topics of Kafka have the prefix `kafka:`. A database that was used with both kinds has no row until its next start.
INSERT INTO broker.kind (kind)
SELECT min(kind)
FROM (SELECT CASE WHEN name LIKE 'kafka:%' THEN 'kafka' ELSE 'embedded' END AS kind FROM broker.topics) AS topics
HAVING count(DISTINCT kind) = 1;
