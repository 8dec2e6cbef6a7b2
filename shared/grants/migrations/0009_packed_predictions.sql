GRANT SELECT ON analytics.packed_predictions TO headrace_reader, headrace_loader, headrace_predictor, headrace_notifier;
