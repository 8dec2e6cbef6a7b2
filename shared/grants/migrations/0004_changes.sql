-- The predictor keeps events in memory and asks which ones were stored anew since it last looked.
GRANT SELECT (event_id, written_by) ON facts.versions TO headrace_predictor;
GRANT SELECT (id, event_key, version, status, settled_at) ON facts.events TO headrace_predictor;

-- A view that is newer than the roles.
GRANT SELECT ON analytics.decisions TO headrace_reader, headrace_loader, headrace_predictor, headrace_notifier;
