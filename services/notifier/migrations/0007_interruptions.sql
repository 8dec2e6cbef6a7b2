-- How often a claim of the row had no outcome, because its sender ended between sending and marking. A message that ends
-- its sender each time is given up after some of these.

ALTER TABLE notifier.ledger ADD COLUMN interruptions bigint NOT NULL DEFAULT 0;
