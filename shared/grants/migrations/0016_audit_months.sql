-- The trail is a new table (shared/ops/migrations/0012_audit_months.sql). Its partitions are granted to nobody.
GRANT SELECT, INSERT ON ops.audit TO headrace_service;
GRANT USAGE ON SEQUENCE ops.audit_ids TO headrace_service;
GRANT EXECUTE ON FUNCTION ops.prepare_audit TO headrace_service;
