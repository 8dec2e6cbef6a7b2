-- What waits for the service, by topic: {"raw-events": {"records": 12, "seconds": 3.1}}. The same in each replica.
ALTER TABLE ops.replicas ADD COLUMN lag jsonb;
