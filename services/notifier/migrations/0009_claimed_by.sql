-- Which loop of a sender has claimed a row to send it. If the reply to a claim is lost, the loop finds its rows by this.
ALTER TABLE notifier.ledger ADD COLUMN claimed_by uuid;
