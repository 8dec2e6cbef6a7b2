-- Heartbeats write it and delete what is too old; analysts draw it.
GRANT SELECT, INSERT, DELETE ON ops.lag_history TO headrace_service;
GRANT USAGE ON SCHEMA ops TO headrace_reader;
GRANT SELECT ON ops.lag_history TO headrace_reader;
