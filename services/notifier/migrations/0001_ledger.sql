-- What was told to whom. A crash between sending and marking cannot be decided: the state says `unknown` then.
CREATE SCHEMA notifier;

CREATE TABLE notifier.ledger (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    record_id uuid NOT NULL,
    rule text NOT NULL,
    channel text NOT NULL,
    event_key text NOT NULL,
    text text NOT NULL,
    state text NOT NULL DEFAULT 'pending'
        CHECK (state IN ('pending', 'sending', 'sent', 'failed', 'unknown')),
    attempts integer NOT NULL DEFAULT 0,
    error text,
    created_at timestamptz NOT NULL,
    due_at timestamptz NOT NULL,
    claimed_at timestamptz,
    sent_at timestamptz,
    UNIQUE (record_id, rule, channel)
);
CREATE INDEX ledger_open ON notifier.ledger (due_at) WHERE state IN ('pending', 'sending');
