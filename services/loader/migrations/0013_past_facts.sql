-- What was known of an event's facts in earlier ranges of time. Only events with several versions of a kind of fact have rows.
-- Written by services/loader/postgres_past.py; `headrace db rebuild` computes the rows of facts that are older than this table.
CREATE TABLE facts.past_facts (
    event_id bigint NOT NULL REFERENCES facts.events,
    kind text NOT NULL CHECK (kind IN ('listed', 'observed', 'settled')),
    valid_from timestamptz NOT NULL,
    valid_to timestamptz NOT NULL CHECK (valid_from < valid_to),
    versions bigint NOT NULL,
    fact jsonb NOT NULL,
    PRIMARY KEY (event_id, kind, valid_from)
);
CREATE INDEX past_facts_card ON facts.past_facts ((fact ->> 'card_key')) WHERE kind = 'listed';
COMMENT ON TABLE facts.past_facts IS 'What was known of an event''s facts in an earlier range of time. What is known now is in the other tables.';
COMMENT ON COLUMN facts.past_facts.event_id IS 'The event.';
COMMENT ON COLUMN facts.past_facts.kind IS 'Kind of the fact: listed, observed or settled.';
COMMENT ON COLUMN facts.past_facts.valid_from IS 'From when it was known.';
COMMENT ON COLUMN facts.past_facts.valid_to IS 'From when something else was known.';
COMMENT ON COLUMN facts.past_facts.versions IS 'Number of versions of this kind that were known.';
COMMENT ON COLUMN facts.past_facts.fact IS 'The fold of these versions: columns of events, outcomes and transactions.';

-- Since when what the tables say of each kind of fact is known. Of an event that is not listed nothing is known.
CREATE VIEW facts.known_since AS
SELECT e.id AS event_id, greatest(e.listed_at, p.listed_to) AS listed,
       CASE WHEN e.observed_at IS NOT NULL
            THEN greatest(e.observed_at, p.observed_to, coalesce(p.first_listed, e.listed_at)) END AS observed,
       CASE WHEN e.settled_at IS NOT NULL
            THEN greatest(e.settled_at, p.settled_to, coalesce(p.first_listed, e.listed_at)) END AS settled
FROM facts.events e
CROSS JOIN LATERAL (
    SELECT min(t.valid_from) FILTER (WHERE t.kind = 'listed') AS first_listed,
           max(t.valid_to) FILTER (WHERE t.kind = 'listed') AS listed_to,
           max(t.valid_to) FILTER (WHERE t.kind = 'observed') AS observed_to,
           max(t.valid_to) FILTER (WHERE t.kind = 'settled') AS settled_to
    FROM facts.past_facts t WHERE t.event_id = e.id
) p
WHERE e.listed_at IS NOT NULL;

-- What was known of events, by kind of fact, in ranges of time: from `valid_from` until before `valid_to`; null: until now.
CREATE VIEW analytics.listed_history AS
SELECT e.event_key, s.session_key, so.name AS source, s.date, e.number, e.scheduled_at, e.title, e.distance_m, e.card_key,
       (SELECT max(v.version) FROM facts.versions v WHERE v.event_id = e.id AND v.kind = 'listed') AS versions,
       e.listed_at AS changed_at, k.listed AS valid_from, NULL::timestamptz AS valid_to
FROM facts.events e
JOIN facts.known_since k ON k.event_id = e.id
JOIN facts.sessions s ON s.id = e.session_id
JOIN facts.sources so ON so.id = s.source_id
UNION ALL
SELECT e.event_key, p.fact ->> 'session', so.name, s.date, (p.fact ->> 'number')::integer,
       (p.fact ->> 'scheduled_at')::timestamptz, p.fact ->> 'title', (p.fact ->> 'distance_m')::integer,
       p.fact ->> 'card_key', p.versions, (p.fact ->> 'listed_at')::timestamptz, p.valid_from, p.valid_to
FROM facts.past_facts p
JOIN facts.events e ON e.id = p.event_id
JOIN facts.sessions s ON s.id = e.session_id
JOIN facts.sources so ON so.id = s.source_id
WHERE p.kind = 'listed';

CREATE VIEW analytics.observed_history AS
SELECT e.event_key, e.observed_conditions,
       (SELECT max(v.version) FROM facts.versions v WHERE v.event_id = e.id AND v.kind = 'observed') AS versions,
       e.observed_at AS changed_at, k.observed AS valid_from, NULL::timestamptz AS valid_to
FROM facts.events e JOIN facts.known_since k ON k.event_id = e.id
WHERE e.observed_at IS NOT NULL
UNION ALL
SELECT e.event_key, p.fact -> 'observed_conditions', p.versions, (p.fact ->> 'observed_at')::timestamptz, p.valid_from,
       p.valid_to
FROM facts.past_facts p JOIN facts.events e ON e.id = p.event_id
WHERE p.kind = 'observed';

CREATE VIEW analytics.settled_history AS
SELECT e.event_key, e.status, e.technique, e.conditions, e.missing_markets,
       (SELECT max(v.version) FROM facts.versions v WHERE v.event_id = e.id AND v.kind = 'settled') AS versions,
       e.settled_at AS changed_at, k.settled AS valid_from, NULL::timestamptz AS valid_to
FROM facts.events e JOIN facts.known_since k ON k.event_id = e.id
WHERE e.settled_at IS NOT NULL
UNION ALL
SELECT e.event_key, p.fact ->> 'status', (p.fact ->> 'technique')::integer, p.fact -> 'conditions',
       (SELECT array_agg(m.market ORDER BY m.n) FROM jsonb_array_elements_text(p.fact -> 'missing_markets')
        WITH ORDINALITY AS m(market, n)),
       p.versions, (p.fact ->> 'settled_at')::timestamptz, p.valid_from, p.valid_to
FROM facts.past_facts p JOIN facts.events e ON e.id = p.event_id
WHERE p.kind = 'settled';

CREATE VIEW analytics.outcome_history AS
SELECT e.event_key, t.slot, t.place, t.code, t.course, t.start_timing_s, t.refunded, k.settled AS valid_from,
       NULL::timestamptz AS valid_to
FROM facts.outcomes t JOIN facts.events e ON e.id = t.event_id JOIN facts.known_since k ON k.event_id = e.id
UNION ALL
SELECT e.event_key, o.slot, o.place, o.code, o.course, o.start_timing_s, o.refunded, p.valid_from, p.valid_to
FROM facts.past_facts p
JOIN facts.events e ON e.id = p.event_id
CROSS JOIN LATERAL jsonb_to_recordset(p.fact -> 'outcomes')
    AS o(slot smallint, place smallint, code smallint, course smallint, start_timing_s double precision, refunded boolean)
WHERE p.kind = 'settled';

CREATE VIEW analytics.transaction_history AS
SELECT e.event_key, t.market, t.selection, t.amount, t.ordinal, k.settled AS valid_from, NULL::timestamptz AS valid_to
FROM facts.transactions t JOIN facts.events e ON e.id = t.event_id JOIN facts.known_since k ON k.event_id = e.id
UNION ALL
SELECT e.event_key, t.market, t.selection, t.amount, t.ordinal, p.valid_from, p.valid_to
FROM facts.past_facts p
JOIN facts.events e ON e.id = p.event_id
CROSS JOIN LATERAL jsonb_to_recordset(p.fact -> 'transactions')
    AS t(market text, selection text, amount bigint, ordinal smallint)
WHERE p.kind = 'settled';

-- What was known at an instant, with the columns of the views events, outcomes and transactions. PostgreSQL puts the bodies
-- of these functions into the query that calls them, so a condition on the event reads only that event.
CREATE FUNCTION analytics.events_as_of(instant timestamptz)
RETURNS TABLE (event_key text, session_key text, number integer, scheduled_at timestamptz, status text, version integer,
               known_at timestamptz, title text, distance_m integer, technique integer, conditions jsonb,
               observed_conditions jsonb, missing_markets text[], listed_at timestamptz, observed_at timestamptz,
               settled_at timestamptz)
LANGUAGE sql STABLE
AS $$
    SELECT l.event_key, l.session_key, l.number, l.scheduled_at,
           CASE WHEN r.status = 'cancelled' AND EXISTS (
               SELECT FROM analytics.listed_history later
               WHERE later.card_key = l.card_key AND later.source = l.source
                 AND later.date > l.date AND later.date <= l.date + 3
                 AND later.valid_from <= instant AND (later.valid_to IS NULL OR later.valid_to > instant)
           ) THEN 'postponed'
           ELSE coalesce(r.status, CASE WHEN o.event_key IS NULL THEN 'listed' ELSE 'observed' END) END,
           l.versions + coalesce(o.versions, 0) + coalesce(r.versions, 0),
           greatest(l.changed_at, o.changed_at, r.changed_at), l.title, l.distance_m, r.technique, r.conditions,
           o.observed_conditions, r.missing_markets, l.changed_at, o.changed_at, r.changed_at
    FROM analytics.listed_history l
    LEFT JOIN analytics.observed_history o
        ON o.event_key = l.event_key AND o.valid_from <= instant AND (o.valid_to IS NULL OR o.valid_to > instant)
    LEFT JOIN analytics.settled_history r
        ON r.event_key = l.event_key AND r.valid_from <= instant AND (r.valid_to IS NULL OR r.valid_to > instant)
    WHERE l.valid_from <= instant AND (l.valid_to IS NULL OR l.valid_to > instant)
$$;

CREATE FUNCTION analytics.outcomes_as_of(instant timestamptz)
RETURNS TABLE (event_key text, slot smallint, place smallint, code smallint, course smallint,
               start_timing_s double precision, refunded boolean)
LANGUAGE sql STABLE
AS $$
    SELECT h.event_key, h.slot, h.place, h.code, h.course, h.start_timing_s, h.refunded
    FROM analytics.outcome_history h
    WHERE h.valid_from <= instant AND (h.valid_to IS NULL OR h.valid_to > instant)
$$;

CREATE FUNCTION analytics.transactions_as_of(instant timestamptz)
RETURNS TABLE (event_key text, market text, selection text, amount bigint, ordinal smallint)
LANGUAGE sql STABLE
AS $$
    SELECT h.event_key, h.market, h.selection, h.amount, h.ordinal
    FROM analytics.transaction_history h
    WHERE h.valid_from <= instant AND (h.valid_to IS NULL OR h.valid_to > instant)
$$;
