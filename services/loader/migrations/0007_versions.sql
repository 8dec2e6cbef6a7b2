-- Every version of every fact, with the event's day for selection. `body` is the clean event's JSON, compressed with zstd.
-- What was known at an instant is computed from these rows (headrace/frames/as_of).
CREATE VIEW analytics.versions AS
SELECT e.event_key, so.name AS source, s.date, v.code::integer AS venue, t.kind, t.version, t.known_at, t.revision,
       t.record_id, t.body
FROM facts.versions t
JOIN facts.events e ON e.id = t.event_id
JOIN facts.sessions s ON s.id = e.session_id
JOIN facts.sources so ON so.id = s.source_id
JOIN facts.venues v ON v.id = s.venue_id;
