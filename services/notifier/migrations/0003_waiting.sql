-- Notifications that wait for an operator are counted every 15 s, without reading those that were sent.
CREATE INDEX ledger_unknown ON notifier.ledger (channel) WHERE state = 'unknown';
