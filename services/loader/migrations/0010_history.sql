-- Attributes of entities over time. A range begins where a card states another value and ends where the next one begins,
-- so ranges of one attribute neither overlap nor leave a gap. Of cards with the same known_at, the last record id counts,
-- as in the fold of facts.entities.
CREATE VIEW analytics.entity_history AS
WITH stated AS (
    SELECT DISTINCT ON (n.entity_key, a.attribute, p.known_at) n.entity_key, a.attribute, a.value, p.known_at
    FROM facts.profiles p
    JOIN facts.entities n ON n.id = p.entity_id
    CROSS JOIN LATERAL (
        SELECT 'name', to_jsonb(p.name) WHERE p.name IS NOT NULL
        UNION ALL SELECT * FROM jsonb_each(p.categories)
        UNION ALL SELECT * FROM jsonb_each(p.measures)
    ) AS a(attribute, value)
    ORDER BY n.entity_key, a.attribute, p.known_at, p.record_id DESC
), changes AS (
    SELECT stated.*, lag(value) OVER (PARTITION BY entity_key, attribute ORDER BY known_at) IS DISTINCT FROM value AS is_new
    FROM stated
)
SELECT entity_key, attribute, value, known_at AS valid_from,
       lead(known_at) OVER (PARTITION BY entity_key, attribute ORDER BY known_at) AS valid_to
FROM changes WHERE is_new;

-- Merges objects; of equal names the last value stays.
CREATE AGGREGATE analytics.merged(jsonb) (SFUNC = jsonb_concat, STYPE = jsonb, INITCOND = '{}');

-- What was known of each entity at an instant. A function for readers, who have no right to facts.profiles.
CREATE FUNCTION analytics.entities_as_of(instant timestamptz)
RETURNS TABLE (entity_key text, name text, categories jsonb, measures jsonb, stated_at timestamptz)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
AS $$
    SELECT n.entity_key,
           (array_agg(p.name ORDER BY p.known_at DESC, p.record_id DESC) FILTER (WHERE p.name IS NOT NULL))[1],
           analytics.merged(p.categories ORDER BY p.known_at, p.record_id),
           analytics.merged(p.measures ORDER BY p.known_at, p.record_id),
           max(p.known_at)
    FROM facts.profiles p JOIN facts.entities n ON n.id = p.entity_id
    WHERE p.known_at <= instant
    GROUP BY n.entity_key
$$;
