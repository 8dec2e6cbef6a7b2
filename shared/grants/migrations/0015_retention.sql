-- Old rows are deleted (shared/ops/retention.py): those of the control plane by the loader, the others by their services.
GRANT DELETE ON ops.operations, ops.dead_letters_settled TO headrace_loader;
GRANT DELETE ON notifier.ledger, notifier.incidents, notifier.mutes TO headrace_notifier;
GRANT DELETE ON fetcher.gates TO headrace_fetcher;
