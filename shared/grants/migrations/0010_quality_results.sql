-- The loader publishes the last result as metrics, the notifier reports broken thresholds.
GRANT SELECT ON ops.quality_results TO headrace_loader, headrace_notifier;
