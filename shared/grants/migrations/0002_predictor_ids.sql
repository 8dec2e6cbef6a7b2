-- The predictor asks which of its predictions are rows already: after a start it remembers nothing itself.
GRANT USAGE ON SCHEMA facts TO headrace_predictor;
GRANT SELECT (record_id) ON facts.predictions TO headrace_predictor;
