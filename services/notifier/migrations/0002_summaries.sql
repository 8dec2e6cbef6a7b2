-- A summary is noted first and composed later (services/notifier/composer.py): until then it has no text.
ALTER TABLE notifier.ledger ALTER COLUMN text DROP NOT NULL;
CREATE INDEX ledger_unwritten ON notifier.ledger (due_at) WHERE text IS NULL;
