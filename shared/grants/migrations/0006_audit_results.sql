-- The loader publishes the last result as metrics.
GRANT SELECT ON ops.audit_results TO headrace_loader;
