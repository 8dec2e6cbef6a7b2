-- The log is a new table (shared/broker/migrations/0006_segments.sql), with the rights of the former one (0017). Its segments
-- are written through it only.
REVOKE ALL ON broker.log_0, broker.segments FROM headrace_service;
ALTER TABLE broker.log_0 DISABLE ROW LEVEL SECURITY;
DROP POLICY IF EXISTS readable ON broker.log_0;
DROP POLICY IF EXISTS own_topics ON broker.log_0;
DROP POLICY IF EXISTS relayed ON broker.log_0;
GRANT SELECT, INSERT, DELETE ON broker.log TO headrace_service;
-- Services measure what retention should have removed.
GRANT SELECT ON broker.segments TO headrace_service;
ALTER TABLE broker.log ENABLE ROW LEVEL SECURITY;
DROP POLICY IF EXISTS readable ON broker.log;
CREATE POLICY readable ON broker.log FOR SELECT USING (true);
DROP POLICY IF EXISTS own_topics ON broker.log;
CREATE POLICY own_topics ON broker.log FOR INSERT
    WITH CHECK (topic_id IN (SELECT t.id FROM broker.topics t JOIN broker.topic_rights r ON r.topic = t.name
        WHERE r.service = ops.own_service() AND r.appends));
DROP POLICY IF EXISTS relayed ON broker.log;
CREATE POLICY relayed ON broker.log FOR DELETE
    USING (topic_id IN (SELECT t.id FROM broker.topics t JOIN broker.topic_rights r ON r.topic = t.name
        WHERE r.service = ops.own_service() AND r.relays));
-- Every service runs the retention of the log, which does what is due.
GRANT EXECUTE ON FUNCTION broker.newest_segment, broker.open_segment, broker.drop_segment TO headrace_service;
