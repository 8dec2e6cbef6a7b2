-- Loops hold partitions and note what they handle; operators release partitions through the admin API.
GRANT SELECT, INSERT, UPDATE, DELETE ON ops.holds, ops.attempts TO headrace_service;
