GRANT SELECT ON analytics.entity_history TO headrace_reader, headrace_loader, headrace_predictor, headrace_notifier;
