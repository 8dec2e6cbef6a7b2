-- Only the roles of Headrace connect to its database, and only the loader, which stages rows, makes temporary tables.
-- Names without a schema mean nothing but PostgreSQL's own objects, and for readers the views. What belongs to another
-- owner (the database of a managed server, its schema public) is left as it is.
DO $$
DECLARE
    role text;
BEGIN
    IF (SELECT pg_has_role(datdba, 'USAGE') FROM pg_database WHERE datname = current_database()) THEN
        EXECUTE format('REVOKE CONNECT, TEMPORARY, CREATE ON DATABASE %I FROM PUBLIC', current_database());
        EXECUTE format('GRANT CONNECT ON DATABASE %I TO headrace_service, headrace_reader', current_database());
        EXECUTE format('GRANT TEMPORARY ON DATABASE %I TO headrace_loader', current_database());
    END IF;
    IF (SELECT pg_has_role(nspowner, 'USAGE') FROM pg_namespace WHERE nspname = 'public') THEN
        REVOKE CREATE ON SCHEMA public FROM PUBLIC;
    END IF;
    FOREACH role IN ARRAY ARRAY['headrace_fetcher', 'headrace_cleaner', 'headrace_loader', 'headrace_predictor',
                                'headrace_notifier'] LOOP
        EXECUTE format('ALTER ROLE %I SET search_path = pg_catalog', role);
    END LOOP;
    ALTER ROLE headrace_reader SET search_path = analytics, pg_catalog;
    -- `headrace sql` and frames read as the reader, also where they log in as the owner.
    IF NOT (SELECT rolsuper FROM pg_roles WHERE rolname = current_user) THEN
        EXECUTE format('GRANT headrace_reader TO %I', current_user);
    END IF;
END
$$;
