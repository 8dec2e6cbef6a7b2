-- Least privilege: one role a service, and one that only reads `analytics`. Passwords are set by the operator's command.
DO $$
DECLARE
    role text;
BEGIN
    FOREACH role IN ARRAY ARRAY['headrace_fetcher', 'headrace_cleaner', 'headrace_loader', 'headrace_predictor',
                                'headrace_notifier', 'headrace_reader'] LOOP
        IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = role) THEN
            EXECUTE format('CREATE ROLE %I LOGIN', role);
        END IF;
    END LOOP;
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'headrace_service') THEN
        CREATE ROLE headrace_service NOLOGIN;
    END IF;
END
$$;
GRANT headrace_service TO headrace_fetcher, headrace_cleaner, headrace_loader, headrace_predictor, headrace_notifier;

-- Every service uses the log and says how it is.
GRANT USAGE ON SCHEMA broker, ops TO headrace_service;
GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA broker TO headrace_service;
GRANT SELECT, INSERT, UPDATE, DELETE ON ops.replicas TO headrace_service;
GRANT SELECT ON ops.migrations TO headrace_service;

GRANT USAGE ON SCHEMA facts TO headrace_loader;
GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA facts TO headrace_loader;
REVOKE DELETE, UPDATE ON facts.versions FROM headrace_loader;

GRANT USAGE ON SCHEMA notifier TO headrace_notifier;
GRANT SELECT, INSERT, UPDATE ON notifier.ledger TO headrace_notifier;

GRANT USAGE ON SCHEMA analytics TO headrace_reader, headrace_loader, headrace_predictor, headrace_notifier;
GRANT SELECT ON ALL TABLES IN SCHEMA analytics TO headrace_reader, headrace_loader, headrace_predictor, headrace_notifier;
ALTER ROLE headrace_reader SET default_transaction_read_only = on;
