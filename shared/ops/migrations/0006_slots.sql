-- The slots of the replicas: which process holds which, until when. A slot is a number, or a name given by the setting
-- `service.slot`. The session of the holder also holds an advisory lock (shared/ops/tables/slots.py).
CREATE TABLE ops.slots (
    service text NOT NULL,
    slot text NOT NULL,
    host text NOT NULL,
    incarnation uuid NOT NULL,
    -- Identifiers of the folders that the holder writes to, by their purpose. Replicas of a service share them.
    folders jsonb NOT NULL DEFAULT '{}',
    lease_until timestamptz NOT NULL,
    PRIMARY KEY (service, slot)
) WITH (fillfactor = 50);
