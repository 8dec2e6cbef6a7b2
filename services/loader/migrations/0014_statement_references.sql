-- The references of the tables that grow fastest are checked once for all rows of a statement (docs/adr/0020): the check of a
-- foreign key, which looks up each row alone, took a third of the server's time of loading. The constraints stay in the
-- catalogue, so that clients see them and TRUNCATE obeys them, but they are not enforced. As with them, the error has SQLSTATE
-- 23503 and names constraint and table. An id never changes: it is GENERATED ALWAYS.
--
-- A deletion of an event or entity waits for the writers of the tables that refer to it, and they wait for it. After the wait
-- they see each other's rows only in READ COMMITTED, so other isolation levels are refused, with a state at which services wait.
-- The lock needs the owner's rights.
--
-- The plan of a check is kept in the session. A join that reads all events suits a large statement only.
CREATE FUNCTION facts.require_events() RETURNS trigger LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp SET enable_hashjoin = off SET enable_mergejoin = off SET enable_seqscan = off
AS $$
DECLARE missing bigint;
BEGIN
    PERFORM facts.require_read_committed();
    SELECT n.event_id INTO missing FROM new_rows n
    WHERE NOT EXISTS (SELECT FROM facts.events e WHERE e.id = n.event_id) LIMIT 1;
    IF FOUND THEN
        PERFORM facts.refuse_reference(TG_TABLE_NAME, 'event_id', missing, 'events');
    END IF;
    RETURN NULL;
END $$;

CREATE FUNCTION facts.require_entities() RETURNS trigger LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp SET enable_hashjoin = off SET enable_mergejoin = off SET enable_seqscan = off
AS $$
DECLARE missing bigint;
BEGIN
    PERFORM facts.require_read_committed();
    SELECT n.entity_id INTO missing FROM new_rows n
    WHERE n.entity_id IS NOT NULL AND NOT EXISTS (SELECT FROM facts.entities e WHERE e.id = n.entity_id) LIMIT 1;
    IF FOUND THEN
        PERFORM facts.refuse_reference(TG_TABLE_NAME, 'entity_id', missing, 'entities');
    END IF;
    RETURN NULL;
END $$;

CREATE FUNCTION facts.keep_referenced_events() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM facts.require_read_committed();
    LOCK TABLE facts.entries, facts.observations, facts.outcomes, facts.transactions, facts.versions
        IN SHARE ROW EXCLUSIVE MODE;
    PERFORM FROM old_rows o
    WHERE EXISTS (SELECT FROM facts.versions t WHERE t.event_id = o.id)
       OR EXISTS (SELECT FROM facts.entries t WHERE t.event_id = o.id)
       OR EXISTS (SELECT FROM facts.observations t WHERE t.event_id = o.id)
       OR EXISTS (SELECT FROM facts.outcomes t WHERE t.event_id = o.id)
       OR EXISTS (SELECT FROM facts.transactions t WHERE t.event_id = o.id);
    IF FOUND THEN
        RAISE foreign_key_violation USING MESSAGE = 'rows refer to the event', SCHEMA = 'facts', TABLE = 'events';
    END IF;
    RETURN NULL;
END $$;

CREATE FUNCTION facts.keep_referenced_entities() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM facts.require_read_committed();
    LOCK TABLE facts.entries, facts.profiles IN SHARE ROW EXCLUSIVE MODE;
    PERFORM FROM old_rows o
    WHERE EXISTS (SELECT FROM facts.profiles t WHERE t.entity_id = o.id)
       OR EXISTS (SELECT FROM facts.entries t WHERE t.entity_id = o.id);
    IF FOUND THEN
        RAISE foreign_key_violation USING MESSAGE = 'rows refer to the entity', SCHEMA = 'facts', TABLE = 'entities';
    END IF;
    RETURN NULL;
END $$;

CREATE FUNCTION facts.require_read_committed() RETURNS void LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF current_setting('transaction_isolation') <> 'read committed' THEN
        RAISE object_not_in_prerequisite_state USING MESSAGE = 'facts are written in READ COMMITTED only';
    END IF;
END $$;

CREATE FUNCTION facts.refuse_reference(source text, source_column text, id bigint, target text) RETURNS void
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RAISE foreign_key_violation USING
        MESSAGE = format('insert or update on table "%s" violates the reference to "%s"', source, target),
        DETAIL = format('Key (%s)=(%s) is not present in table "%s".', source_column, id, target),
        SCHEMA = 'facts', TABLE = source, COLUMN = source_column,
        CONSTRAINT = format('%s_%s_fkey', source, source_column);
END $$;

-- Before PostgreSQL 18, foreign keys cannot be left unenforced, so there they stay as they are.
DO $$
DECLARE source text; source_column text; target text;
BEGIN
    IF current_setting('server_version_num')::integer < 180000 THEN
        RETURN;
    END IF;
    -- In the order in which a unit of the loader reads them: then it holds none of them while it waits for another.
    LOCK TABLE facts.events, facts.versions, facts.entries, facts.observations, facts.outcomes, facts.transactions,
        facts.profiles, facts.entities IN ACCESS EXCLUSIVE MODE;
    FOR source, source_column, target IN VALUES
        ('entries', 'event_id', 'events'), ('observations', 'event_id', 'events'), ('outcomes', 'event_id', 'events'),
        ('transactions', 'event_id', 'events'), ('versions', 'event_id', 'events'),
        ('entries', 'entity_id', 'entities'), ('profiles', 'entity_id', 'entities')
    LOOP
        EXECUTE format('ALTER TABLE facts.%I ALTER CONSTRAINT %I NOT ENFORCED', source, source || '_' || source_column || '_fkey');
        EXECUTE format(
            'CREATE TRIGGER inserted_rows_refer_to_%2$s AFTER INSERT ON facts.%1$I REFERENCING NEW TABLE AS new_rows'
            ' FOR EACH STATEMENT EXECUTE FUNCTION facts.require_%2$s()', source, target);
        EXECUTE format(
            'CREATE TRIGGER updated_rows_refer_to_%2$s AFTER UPDATE ON facts.%1$I REFERENCING NEW TABLE AS new_rows'
            ' FOR EACH STATEMENT EXECUTE FUNCTION facts.require_%2$s()', source, target);
    END LOOP;
    FOREACH target IN ARRAY ARRAY['events', 'entities'] LOOP
        EXECUTE format(
            'CREATE TRIGGER keep_referenced AFTER DELETE ON facts.%1$I REFERENCING OLD TABLE AS old_rows'
            ' FOR EACH STATEMENT EXECUTE FUNCTION facts.keep_referenced_%1$s()', target);
    END LOOP;
END $$;
-- A login that may execute it could lock the tables by a trigger of its own.
REVOKE EXECUTE ON FUNCTION facts.keep_referenced_events(), facts.keep_referenced_entities() FROM PUBLIC;
