-- What replicas say of themselves. Desired state, jobs and audit join this schema with the control plane.
CREATE TABLE ops.replicas (
    service text NOT NULL,
    replica text NOT NULL,
    pid integer NOT NULL,
    admin_url text NOT NULL,
    state text NOT NULL,
    ready boolean NOT NULL,
    lag_records bigint,
    detail jsonb NOT NULL DEFAULT '{}',
    started_at timestamptz NOT NULL,
    seen_at timestamptz NOT NULL,
    PRIMARY KEY (service, replica)
);
