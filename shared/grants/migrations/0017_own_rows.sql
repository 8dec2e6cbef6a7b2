-- A service's login writes only what its service owns: records of its topics, positions of its group, its own orders,
-- operations and lines of the trail. All services read all of it. The owner of the tables is not limited: it does the
-- migrations, and all services where they share one login.
--
-- Policies compare with constants of the statement: the role, or ids that a subquery reads once. They call no function
-- that PostgreSQL cannot put in their place, which costs an append of 100 records 0.2 ms instead of 0.4 ms.
CREATE FUNCTION ops.own_service() RETURNS text STABLE LANGUAGE sql RETURN substr(current_user, length('headrace_') + 1);

-- The topics that a service appends to. `relays`: the local parts of Kafka's topics, from which a service also deletes
-- what it has copied to Kafka.
CREATE TABLE broker.topic_rights (
    service text NOT NULL,
    topic text NOT NULL,
    appends boolean NOT NULL,
    relays boolean NOT NULL,
    PRIMARY KEY (service, topic)
);
INSERT INTO broker.topic_rights (service, topic, appends, relays)
SELECT service, prefix || topic, true, false
FROM (VALUES ('fetcher', 'raw-events'), ('fetcher', 'fetcher-cursors'), ('cleaner', 'clean-events'),
    ('loader', 'loaded-events'), ('predictor', 'predictions')) AS streams (service, topic),
    unnest(ARRAY['', 'kafka:']) AS prefix
UNION ALL
SELECT service, prefix || service || suffix, true, false
FROM unnest(ARRAY['fetcher', 'cleaner', 'loader', 'predictor', 'notifier']) AS service,
    unnest(ARRAY['', 'kafka:']) AS prefix, unnest(ARRAY['.dlq', '.retry']) AS suffix;
-- The relay runs in both services that have an outbox, one at a time, and relays the topics of both.
INSERT INTO broker.topic_rights (service, topic, appends, relays)
SELECT service, topic, false, true
FROM unnest(ARRAY['loader', 'notifier']) AS service,
    unnest(ARRAY['kafka:loaded-events', 'kafka:loader.dlq', 'kafka:notifier.dlq']) AS topic
ON CONFLICT (service, topic) DO UPDATE SET relays = true;
GRANT SELECT ON broker.topic_rights TO headrace_service;

-- Tables and views that are newer than the roles: a database that was upgraded lacks rights that a new one has.
GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA facts TO headrace_loader;
REVOKE UPDATE, DELETE ON facts.versions FROM headrace_loader;
GRANT SELECT ON ALL TABLES IN SCHEMA analytics TO headrace_reader, headrace_loader, headrace_predictor, headrace_notifier;
GRANT SELECT ON broker.kind TO headrace_service;

-- Everybody reads; what may be written follows table by table.
DO $$
DECLARE
    place text;
BEGIN
    FOREACH place IN ARRAY ARRAY['broker.topics', 'broker.partitions', 'broker.log', 'broker.positions', 'broker.leases',
        'broker.members', 'broker.slots', 'broker.cursors', 'broker.checkpoints', 'broker.losses', 'ops.replicas',
        'ops.orders', 'ops.observed', 'ops.operations', 'ops.plans', 'ops.dead_letters_settled', 'ops.audit',
        'ops.idempotency', 'ops.slots', 'ops.lag_history', 'ops.holds', 'ops.attempts'] LOOP
        EXECUTE format('ALTER TABLE %s ENABLE ROW LEVEL SECURITY', place);
        EXECUTE format('CREATE POLICY readable ON %s FOR SELECT USING (true)', place);
    END LOOP;

    FOREACH place IN ARRAY ARRAY['broker.positions', 'broker.leases', 'broker.members', 'broker.checkpoints',
        'broker.losses'] LOOP
        EXECUTE format('CREATE POLICY own_group_insert ON %s FOR INSERT WITH CHECK (grp = ops.own_service())', place);
        EXECUTE format('CREATE POLICY own_group_update ON %s FOR UPDATE USING (grp = ops.own_service())', place);
        EXECUTE format('CREATE POLICY own_group_delete ON %s FOR DELETE USING (grp = ops.own_service())', place);
    END LOOP;

    FOREACH place IN ARRAY ARRAY['ops.replicas', 'ops.orders', 'ops.observed', 'ops.operations', 'ops.plans',
        'ops.dead_letters_settled', 'ops.idempotency', 'ops.slots', 'ops.lag_history', 'ops.holds',
        'ops.attempts'] LOOP
        EXECUTE format('CREATE POLICY own_insert ON %s FOR INSERT WITH CHECK (service = ops.own_service())', place);
        EXECUTE format('CREATE POLICY own_update ON %s FOR UPDATE USING (service = ops.own_service())', place);
    END LOOP;
    FOREACH place IN ARRAY ARRAY['ops.replicas', 'ops.observed', 'ops.idempotency', 'ops.slots', 'ops.lag_history',
        'ops.holds', 'ops.attempts'] LOOP
        EXECUTE format('CREATE POLICY own_delete ON %s FOR DELETE USING (service = ops.own_service())', place);
    END LOOP;
END
$$;

-- Topics, the kind of broker and the database's identity belong to `headrace migrate`.
REVOKE INSERT, UPDATE, DELETE ON broker.topics, broker.kind, broker.outbox, broker.partitions FROM headrace_service;
REVOKE UPDATE ON broker.log FROM headrace_service;
REVOKE DELETE ON broker.positions, broker.slots, broker.cursors FROM headrace_service;

GRANT UPDATE (begin_off, end_off) ON broker.partitions TO headrace_service;
GRANT UPDATE (relayed_off, relayed_print) ON broker.partitions TO headrace_loader, headrace_notifier;
CREATE POLICY own_topics ON broker.partitions FOR UPDATE
    USING (topic_id IN (SELECT t.id FROM broker.topics t JOIN broker.topic_rights r ON r.topic = t.name
        WHERE r.service = ops.own_service() AND (r.appends OR r.relays)));
CREATE POLICY own_topics ON broker.log FOR INSERT
    WITH CHECK (topic_id IN (SELECT t.id FROM broker.topics t JOIN broker.topic_rights r ON r.topic = t.name
        WHERE r.service = ops.own_service() AND r.appends));
CREATE POLICY relayed ON broker.log FOR DELETE
    USING (topic_id IN (SELECT t.id FROM broker.topics t JOIN broker.topic_rights r ON r.topic = t.name
        WHERE r.service = ops.own_service() AND r.relays));

-- Cursors of the fetcher's topic, and those of the service's own jobs (shared/runtime/jobs/session.py).
CREATE POLICY own_topics_insert ON broker.cursors FOR INSERT
    WITH CHECK (topic_id IN (SELECT t.id FROM broker.topics t JOIN broker.topic_rights r ON r.topic = t.name
        WHERE r.service = ops.own_service() AND r.appends));
CREATE POLICY own_topics_update ON broker.cursors FOR UPDATE
    USING (topic_id IN (SELECT t.id FROM broker.topics t JOIN broker.topic_rights r ON r.topic = t.name
        WHERE r.service = ops.own_service() AND r.appends));
CREATE POLICY own_jobs_insert ON broker.cursors FOR INSERT WITH CHECK (
    topic_id IN (SELECT id FROM broker.topics WHERE name IN ('replay-cursors', 'kafka:replay-cursors'))
    AND EXISTS (SELECT FROM ops.operations o WHERE o.id = key AND o.service = ops.own_service()));
CREATE POLICY own_jobs_update ON broker.cursors FOR UPDATE USING (
    topic_id IN (SELECT id FROM broker.topics WHERE name IN ('replay-cursors', 'kafka:replay-cursors'))
    AND EXISTS (SELECT FROM ops.operations o WHERE o.id = key AND o.service = ops.own_service()));

-- A producer's slot is named `<service>-<slot>`, `<service>/<topic>` or `job-<operation>`.
CREATE POLICY own_insert ON broker.slots FOR INSERT WITH CHECK (starts_with(name, ops.own_service() || '-')
    OR starts_with(name, ops.own_service() || '/')
    OR starts_with(name, 'job-') AND EXISTS (SELECT FROM ops.operations o
        WHERE o.id = substr(name, length('job-') + 1) AND o.service = ops.own_service()));
CREATE POLICY own_update ON broker.slots FOR UPDATE USING (starts_with(name, ops.own_service() || '-')
    OR starts_with(name, ops.own_service() || '/')
    OR starts_with(name, 'job-') AND EXISTS (SELECT FROM ops.operations o
        WHERE o.id = substr(name, length('job-') + 1) AND o.service = ops.own_service()));

-- Lines of the command line are written by the owner; no service writes one in its name.
CREATE POLICY own_insert ON ops.audit FOR INSERT
    WITH CHECK (service = ops.own_service() AND NOT starts_with(who, 'command:'));

-- Every service deletes what has expired, also of a service that no longer runs.
CREATE POLICY expired ON ops.plans FOR DELETE USING (created_at < now() - interval '48 hours');
CREATE POLICY expired ON ops.idempotency FOR DELETE USING (created_at <= now() - interval '48 hours');
CREATE POLICY expired ON ops.lag_history FOR DELETE USING (at < now() - interval '7 days');

-- The loader deletes what has expired of all services (shared/ops/retention.py), after at least these times.
GRANT DELETE ON broker.slots, broker.cursors TO headrace_loader;
CREATE POLICY finished_jobs ON broker.cursors FOR DELETE TO headrace_loader USING (
    topic_id IN (SELECT id FROM broker.topics WHERE name IN ('replay-cursors', 'kafka:replay-cursors'))
    AND EXISTS (SELECT FROM ops.operations o WHERE o.id = key AND o.finished_at IS NOT NULL));
CREATE POLICY finished_jobs ON broker.slots FOR DELETE TO headrace_loader USING (starts_with(name, 'job-')
    AND EXISTS (SELECT FROM ops.operations o
        WHERE o.id = substr(name, length('job-') + 1) AND o.finished_at IS NOT NULL));
CREATE POLICY expired ON broker.members FOR DELETE TO headrace_loader USING (alive_until < now());
CREATE POLICY expired ON broker.leases FOR DELETE TO headrace_loader USING (lease_until < now());
CREATE POLICY expired ON ops.slots FOR DELETE TO headrace_loader USING (lease_until < now());
CREATE POLICY expired ON ops.replicas FOR DELETE TO headrace_loader USING (seen_at < now() - interval '1 minute');
CREATE POLICY expired ON ops.observed FOR DELETE TO headrace_loader USING (seen_at < now() - interval '1 minute'
    AND NOT EXISTS (SELECT FROM ops.replicas r
        WHERE r.service = observed.service AND r.replica = observed.replica));
CREATE POLICY expired ON ops.operations FOR DELETE TO headrace_loader USING (finished_at < now() - interval '1 day');
CREATE POLICY expired ON ops.dead_letters_settled FOR DELETE TO headrace_loader
    USING (settled_at < now() - interval '100 days');

-- Every service runs the retention of the log, which deletes what is due (shared/broker/migrations/0005_retention.sql).
GRANT EXECUTE ON FUNCTION broker.oldest_batches, broker.delete_expired TO headrace_service;
