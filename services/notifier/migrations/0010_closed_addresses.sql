-- Nothing is sent to an address that its channel refuses (HTTP 401, 403, 404, 410 ...): the address is closed. The empty
-- address holds all messages. `tried_at`: when a closed address was last tried; null if it is tried at once.
-- One row or few, so that the constraint takes no time.
ALTER TABLE notifier.sending_hold
    ADD COLUMN address text NOT NULL DEFAULT '',
    ADD COLUMN tried_at timestamptz;
-- squawk-ignore constraint-missing-not-valid, ban-drop-constraint, adding-serial-primary-key-field
ALTER TABLE notifier.sending_hold DROP CONSTRAINT sending_hold_pkey, ADD PRIMARY KEY (address);
-- squawk-ignore ban-drop-column
ALTER TABLE notifier.sending_hold DROP COLUMN only_row;
