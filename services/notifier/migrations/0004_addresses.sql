-- The column `channel` holds an address: a channel's kind, or KIND/DESTINATION. A row knows what its channel shows, so
-- that a message can be edited, and which rows share one message.
ALTER TABLE notifier.ledger
    ADD COLUMN content jsonb,
    ADD COLUMN version bigint NOT NULL DEFAULT 1,
    ADD COLUMN shown_version bigint,
    ADD COLUMN external_id text,
    ADD COLUMN thread_id text,
    ADD COLUMN group_id uuid,
    ADD COLUMN expires_at timestamptz;

-- The new check accepts what the old one did.
-- squawk-ignore ban-drop-constraint
ALTER TABLE notifier.ledger DROP CONSTRAINT ledger_state_check;
-- The ledger has a few rows for each event, so the checks and the indexes take less than a second.
-- squawk-ignore constraint-missing-not-valid
ALTER TABLE notifier.ledger ADD CONSTRAINT ledger_state_check
    CHECK (state IN ('pending', 'sending', 'sent', 'failed', 'unknown', 'expired'));

-- squawk-ignore require-concurrent-index-creation
CREATE INDEX ledger_group ON notifier.ledger (group_id) WHERE group_id IS NOT NULL;
-- squawk-ignore require-concurrent-index-creation
CREATE INDEX ledger_edits ON notifier.ledger (due_at) WHERE state = 'sent' AND version > shown_version;
