-- The notifier holds its messages when it finds that the ledger went back; operators release them through its admin API.
GRANT SELECT, INSERT, DELETE ON notifier.sending_hold TO headrace_notifier;
