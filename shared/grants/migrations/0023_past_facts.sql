GRANT SELECT, INSERT, UPDATE, DELETE ON facts.past_facts TO headrace_loader;
GRANT SELECT ON analytics.listed_history, analytics.observed_history, analytics.settled_history, analytics.outcome_history,
    analytics.transaction_history TO headrace_reader, headrace_loader, headrace_predictor, headrace_notifier;
