-- Views that are newer than the roles.
GRANT SELECT ON analytics.changes, analytics.decisions
TO headrace_reader, headrace_loader, headrace_predictor, headrace_notifier;
