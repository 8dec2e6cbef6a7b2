GRANT SELECT, INSERT, UPDATE, DELETE ON broker.checkpoints, broker.losses TO headrace_service;
GRANT SELECT ON broker.outbox TO headrace_service;
