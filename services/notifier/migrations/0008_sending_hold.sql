-- Why no message is sent: the ledger went back to an earlier state, and lacks what was sent since. At most one row.
CREATE TABLE notifier.sending_hold (
    only_row boolean PRIMARY KEY DEFAULT true CHECK (only_row),
    since timestamptz NOT NULL DEFAULT clock_timestamp(),
    cause text NOT NULL
);
