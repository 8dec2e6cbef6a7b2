-- A key belongs to one service: the same request sent to two services is two requests.
ALTER TABLE ops.idempotency ADD COLUMN service text;
ALTER TABLE ops.idempotency DROP CONSTRAINT idempotency_pkey;
-- An answer that is an operation names its service. The others are copied to every service, which is what they were
-- valid for until now; they expire within 48 hours.
UPDATE ops.idempotency SET service = body ->> 'service';
INSERT INTO ops.idempotency (service, subject, key, request_digest, status, headers, body, created_at)
SELECT name, subject, key, request_digest, status, headers, body, created_at
FROM ops.idempotency CROSS JOIN unnest(ARRAY['fetcher', 'cleaner', 'loader', 'predictor', 'notifier']) AS name
WHERE service IS NULL;
DELETE FROM ops.idempotency WHERE service IS NULL;
ALTER TABLE ops.idempotency ADD PRIMARY KEY (service, subject, key);
