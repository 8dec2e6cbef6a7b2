-- What people and programs may read: views, a promise to users.
CREATE SCHEMA analytics;

-- Postponed: called off, and the same line-up is on a card within the next three days.
CREATE VIEW analytics.events AS
SELECT e.event_key, s.session_key, e.number, e.scheduled_at,
       CASE WHEN e.status = 'cancelled' AND EXISTS (
           SELECT FROM facts.events later JOIN facts.sessions ls ON ls.id = later.session_id
           WHERE later.card_key = e.card_key AND ls.source_id = s.source_id AND ls.date > s.date AND ls.date <= s.date + 3
       ) THEN 'postponed' ELSE e.status END AS status,
       e.version, greatest(e.listed_at, e.observed_at, e.settled_at) AS known_at,
       e.title, e.distance_m, e.technique, e.conditions, e.observed_conditions, e.missing_markets,
       e.listed_at, e.observed_at, e.settled_at
FROM facts.events e JOIN facts.sessions s ON s.id = e.session_id;

CREATE VIEW analytics.sessions AS
SELECT s.session_key, so.name AS source, s.date, v.code::integer AS venue, s.title,
       CASE WHEN bool_and(e.status IN ('settled', 'void')) THEN 'settled'
            WHEN bool_and(e.status = 'cancelled') THEN 'cancelled'
            WHEN bool_and(e.status IN ('settled', 'void', 'cancelled')) THEN 'settled in part'
            WHEN bool_or(e.status NOT IN ('listed', 'observed')) THEN 'running'
            ELSE 'listed' END AS status,
       v.name AS venue_name, s.grade
FROM facts.sessions s
JOIN facts.sources so ON so.id = s.source_id
JOIN facts.venues v ON v.id = s.venue_id
JOIN facts.events e ON e.session_id = s.id
GROUP BY s.id, so.name, v.id;

CREATE VIEW analytics.entities AS
SELECT entity_key, name, categories, known_at FROM facts.entities;

CREATE VIEW analytics.entries AS
SELECT e.event_key, t.slot, n.entity_key, t.measures, t.categories
FROM facts.entries t JOIN facts.events e ON e.id = t.event_id LEFT JOIN facts.entities n ON n.id = t.entity_id;

CREATE VIEW analytics.observations AS
SELECT e.event_key, t.slot, t.course, t.measures
FROM facts.observations t JOIN facts.events e ON e.id = t.event_id;

CREATE VIEW analytics.outcomes AS
SELECT e.event_key, t.slot, t.place, t.code, t.course, t.start_timing_s, t.refunded
FROM facts.outcomes t JOIN facts.events e ON e.id = t.event_id;

CREATE VIEW analytics.transactions AS
SELECT e.event_key, t.market, t.selection, t.amount, t.ordinal
FROM facts.transactions t JOIN facts.events e ON e.id = t.event_id;

CREATE VIEW analytics.return_rates AS
SELECT so.name AS source, r.scope, r.key, r.market, sum(r.bets)::bigint AS bets, sum(r.staked)::bigint AS staked,
       sum(r.returned)::bigint AS returned,
       CASE WHEN sum(r.staked) > 0 THEN sum(r.returned)::double precision / sum(r.staked)::double precision END AS rate,
       max(r.as_of) AS as_of
FROM facts.return_rates r JOIN facts.sources so ON so.id = r.source_id
GROUP BY so.name, r.scope, r.key, r.market
HAVING sum(r.bets) > 0;  -- a correction may have taken away the only event of a cell

CREATE VIEW analytics.predictions AS
SELECT e.event_key, h.slot, h.head, h.label AS class, h.probability, t.model_version, t.as_of, t.state, t.shadow
FROM facts.predictions t
JOIN facts.events e ON e.id = t.event_id
CROSS JOIN LATERAL jsonb_to_recordset(t.probabilities) AS h(head text, slot smallint, label text, probability double precision);

CREATE VIEW analytics.regressions AS
SELECT e.event_key, t.kind, t.field, t.kept, t.known_at, t.record_id
FROM facts.regressions t JOIN facts.events e ON e.id = t.event_id;

CREATE VIEW analytics.corrections AS
SELECT e.event_key, t.kind, t.field, t.old, t.new, t.known_at, t.record_id
FROM facts.corrections t JOIN facts.events e ON e.id = t.event_id;

CREATE VIEW analytics.parked AS
SELECT parent_key AS event_key, kind, reason, parked_at, record_id FROM facts.parked;

CREATE VIEW analytics.dead_letters AS
SELECT service, topic, p AS partition, off AS "offset", key, error, message, attempts, failed_at, record_id
FROM facts.dead_letters;

CREATE VIEW analytics.venues AS
SELECT s.name AS source, t.code, t.name, t.attributes FROM facts.venues t JOIN facts.sources s ON s.id = t.source_id;
CREATE VIEW analytics.markets AS
SELECT s.name AS source, t.code, t.name, t.attributes FROM facts.markets t JOIN facts.sources s ON s.id = t.source_id;
CREATE VIEW analytics.grades AS
SELECT s.name AS source, t.code, t.name, t.attributes FROM facts.grades t JOIN facts.sources s ON s.id = t.source_id;
CREATE VIEW analytics.classes AS
SELECT s.name AS source, t.code, t.name, t.attributes FROM facts.classes t JOIN facts.sources s ON s.id = t.source_id;
CREATE VIEW analytics.weathers AS
SELECT s.name AS source, t.code, t.name, t.attributes FROM facts.weathers t JOIN facts.sources s ON s.id = t.source_id;
CREATE VIEW analytics.wind_directions AS
SELECT s.name AS source, t.code, t.name, t.attributes
FROM facts.wind_directions t JOIN facts.sources s ON s.id = t.source_id;
CREATE VIEW analytics.techniques AS
SELECT s.name AS source, t.code, t.name, t.attributes FROM facts.techniques t JOIN facts.sources s ON s.id = t.source_id;
CREATE VIEW analytics.place_codes AS
SELECT s.name AS source, t.code, t.name, t.attributes FROM facts.place_codes t JOIN facts.sources s ON s.id = t.source_id;
CREATE VIEW analytics.branches AS
SELECT s.name AS source, t.code, t.name, t.attributes FROM facts.branches t JOIN facts.sources s ON s.id = t.source_id;

-- Each prediction of the winner that could be scored, in nats; the base rate is the share of wins of that slot
-- over all events of the source that had settled by then.
CREATE VIEW analytics.prediction_scores AS
SELECT e.event_key, p.state, p.model_version, p.as_of, p.shadow,
       -ln(greatest((h.item ->> 'probability')::double precision, 1e-15)) AS log_loss
FROM facts.predictions p
JOIN facts.events e ON e.id = p.event_id AND e.status = 'settled'
JOIN LATERAL (SELECT min(slot) AS slot, count(*) AS winners FROM facts.outcomes o WHERE o.event_id = e.id AND o.place = 1) w
    ON w.winners = 1
JOIN LATERAL jsonb_array_elements(p.probabilities) AS h(item)
    ON h.item ->> 'head' = 'result' AND (h.item ->> 'slot')::smallint = w.slot;
