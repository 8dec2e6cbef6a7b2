CREATE SCHEMA fetcher;

-- One row for each host that documents are fetched from. The fetcher's replicas share it: one replaces `state`
-- (services/fetcher/gate/state.py) only if `version` is the one that it read.
CREATE TABLE fetcher.gates (
    host text PRIMARY KEY,
    version bigint NOT NULL,
    state jsonb NOT NULL,
    changed_at timestamptz NOT NULL DEFAULT clock_timestamp()
) WITH (fillfactor = 50);
