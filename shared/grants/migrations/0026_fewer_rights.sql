-- Only the relay deletes from the log itself, in the services that have an outbox. For the others the right to delete was
-- of no use, and whoever has it may lock the whole table.
REVOKE DELETE ON broker.log FROM headrace_service;
GRANT DELETE ON broker.log TO headrace_loader, headrace_notifier;

-- Headrace has no large objects. Row security does not reach them, no retention deletes them, and PUBLIC may create them.
-- Only a superuser can take this right away.
DO $$
BEGIN
    IF (SELECT rolsuper FROM pg_roles WHERE rolname = current_user) THEN
        REVOKE EXECUTE ON FUNCTION pg_catalog.lo_creat(integer), pg_catalog.lo_create(oid),
            pg_catalog.lo_from_bytea(oid, bytea) FROM PUBLIC;
    END IF;
END
$$;
