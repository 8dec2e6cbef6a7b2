GRANT SELECT, INSERT, UPDATE ON notifier.incidents, notifier.mutes, notifier.bot_state TO headrace_notifier;
-- Answered interactions are deleted after a day, subscriptions when they end.
GRANT SELECT, INSERT, UPDATE, DELETE ON notifier.interactions, notifier.subscriptions TO headrace_notifier;
-- An audit that found something, or that is overdue, is an alert.
GRANT SELECT ON ops.audit_results TO headrace_notifier;
