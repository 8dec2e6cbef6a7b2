-- Which transaction wrote a version: whoever keeps events in memory asks what was written since it last looked, and
-- misses nothing however late a transaction commits (services/predictor/postgres_facts.py). Null: older than this column.
ALTER TABLE facts.versions ADD COLUMN written_by xid8;
ALTER TABLE facts.versions ALTER COLUMN written_by SET DEFAULT pg_current_xact_id();
CREATE INDEX versions_written ON facts.versions (written_by);

-- What the policy would have done, by prediction.
CREATE VIEW analytics.decisions AS
SELECT e.event_key, s.session_key, t.state, t.model_version, t.as_of, t.shadow, t.decision
FROM facts.predictions t JOIN facts.events e ON e.id = t.event_id JOIN facts.sessions s ON s.id = e.session_id
WHERE t.decision IS NOT NULL;
