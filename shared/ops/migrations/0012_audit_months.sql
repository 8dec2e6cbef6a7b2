-- The trail by month, so that the owner can archive and drop old months. ops.prepare_audit makes the months as they are
-- needed; services call it before they append (shared/ops/tables/audit.py), because their roles cannot create tables.
-- At the commit, clients find a table of the same name and columns.
-- squawk-ignore renaming-table
ALTER TABLE ops.audit RENAME TO audit_before;
-- squawk-ignore renaming-object
ALTER TABLE ops.audit_before RENAME CONSTRAINT audit_pkey TO audit_before_pkey;
-- squawk-ignore renaming-object
ALTER INDEX ops.audit_service RENAME TO audit_before_service;
CREATE SEQUENCE ops.audit_ids;
CREATE TABLE ops.audit (
    id bigint NOT NULL DEFAULT nextval('ops.audit_ids'),
    at timestamptz NOT NULL DEFAULT clock_timestamp(),
    service text NOT NULL,
    who text NOT NULL,
    action text NOT NULL,
    target text NOT NULL,
    before jsonb,
    after jsonb,
    outcome text NOT NULL,
    request_id text NOT NULL,
    PRIMARY KEY (id, at)
) PARTITION BY RANGE (at);
ALTER SEQUENCE ops.audit_ids OWNED BY ops.audit.id;
CREATE INDEX audit_service ON ops.audit (service, id);
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON ops.audit
    FOR EACH STATEMENT EXECUTE FUNCTION ops.audit_is_append_only();

-- Creates the partition of a month (UTC) if there is none. Attaching a table does not block those who append. A trigger of
-- the whole table does not act on a partition that is named directly, so each has its own.
CREATE FUNCTION ops.create_audit_month(moment timestamptz) RETURNS void LANGUAGE plpgsql SET search_path = pg_catalog AS $$
DECLARE
    first timestamp := date_trunc('month', moment AT TIME ZONE 'UTC');
    name text := 'audit_' || to_char(first, 'YYYY_MM');
BEGIN
    IF to_regclass('ops.' || name) IS NOT NULL THEN
        RETURN;
    END IF;
    EXECUTE format('CREATE TABLE ops.%I (LIKE ops.audit INCLUDING DEFAULTS INCLUDING INDEXES)', name);
    EXECUTE format(
        'CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON ops.%I'
        ' FOR EACH STATEMENT EXECUTE FUNCTION ops.audit_is_append_only()', name);
    EXECUTE format('ALTER TABLE ops.audit ATTACH PARTITION ops.%I FOR VALUES FROM (%L) TO (%L)', name,
        first AT TIME ZONE 'UTC', (first + interval '1 month') AT TIME ZONE 'UTC');
END
$$;
REVOKE EXECUTE ON FUNCTION ops.create_audit_month FROM PUBLIC;

-- Makes this month and the next one, with the rights of the owner. Only one transaction makes a month; the others go on,
-- because the month before it exists, or wait if it does not.
CREATE FUNCTION ops.prepare_audit() RETURNS void LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog AS $$
DECLARE
    moment timestamptz := clock_timestamp();
    next_month timestamptz := moment + interval '1 month';
    lock constant bigint := 7809644627822473588;
BEGIN
    IF to_regclass('ops.audit_' || to_char(moment AT TIME ZONE 'UTC', 'YYYY_MM')) IS NULL THEN
        PERFORM pg_advisory_xact_lock(lock);
        PERFORM ops.create_audit_month(moment);
    END IF;
    IF to_regclass('ops.audit_' || to_char(next_month AT TIME ZONE 'UTC', 'YYYY_MM')) IS NULL
        AND pg_try_advisory_xact_lock(lock) THEN
        PERFORM ops.create_audit_month(next_month);
    END IF;
END
$$;
REVOKE EXECUTE ON FUNCTION ops.prepare_audit FROM PUBLIC;

-- The months of the existing lines, and some ahead: services of an older version do not prepare any.
DO $$
DECLARE
    moment timestamptz := (SELECT coalesce(min(at), clock_timestamp()) FROM ops.audit_before);
BEGIN
    WHILE moment < clock_timestamp() + interval '3 months' LOOP
        PERFORM ops.create_audit_month(moment);
        moment := moment + interval '1 month';
    END LOOP;
    -- A step from the 31st of a month may pass over a shorter one.
    PERFORM ops.create_audit_month(at) FROM ops.audit_before;
END
$$;
INSERT INTO ops.audit SELECT * FROM ops.audit_before;
SELECT setval('ops.audit_ids', greatest((SELECT max(id) FROM ops.audit), 1), EXISTS (SELECT FROM ops.audit));
-- squawk-ignore ban-drop-table
DROP TABLE ops.audit_before;
