-- Notifications that wait for an operator are counted every 15 s, without reading those that were sent. The ledger has a
-- few rows for each event, so the index is built in less than a second.
-- squawk-ignore require-concurrent-index-creation
CREATE INDEX ledger_unknown ON notifier.ledger (channel) WHERE state = 'unknown';
