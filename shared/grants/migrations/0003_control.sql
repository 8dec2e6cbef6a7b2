-- Every service follows its orders, works on operations and answers operators; nobody rewrites what was done.
GRANT SELECT, INSERT, UPDATE ON ops.orders, ops.operations TO headrace_service;
GRANT SELECT, INSERT, UPDATE, DELETE ON ops.observed TO headrace_service;
GRANT SELECT, INSERT, DELETE ON ops.plans, ops.idempotency TO headrace_service;
GRANT SELECT, INSERT ON ops.audit, ops.dead_letters_settled TO headrace_service;
GRANT SELECT ON ops.tokens TO headrace_service;
GRANT USAGE ON SEQUENCE ops.order_seq, ops.operation_id TO headrace_service;
