-- The control plane: what operators want, what replicas did about it, and who asked for what.

-- What is wanted of a service's work on a topic. `seq` grows with every change of any order.
CREATE SEQUENCE ops.order_seq;
CREATE TABLE ops.orders (
    service text NOT NULL,
    topic text NOT NULL,
    desired text NOT NULL CHECK (desired IN ('running', 'paused')),
    seq bigint NOT NULL DEFAULT nextval('ops.order_seq'),
    -- Failures of each partition that do not count for the breaker after this order.
    tolerate integer NOT NULL DEFAULT 0 CHECK (tolerate >= 0),
    reason text,
    ordered_by text NOT NULL,
    ordered_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (service, topic)
);

-- What a replica does with a partition that it owns, under which order.
CREATE TABLE ops.observed (
    service text NOT NULL,
    replica text NOT NULL,
    topic text NOT NULL,
    p integer NOT NULL,
    state text NOT NULL CHECK (state IN ('running', 'paused', 'tripped')),
    seq bigint NOT NULL,
    position bigint,
    cause text,
    seen_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (service, replica, topic, p)
) WITH (fillfactor = 50);

-- The newest order that all of a replica obeys, also where it owns nothing: what it is given next starts like that.
ALTER TABLE ops.replicas ADD COLUMN obeyed_seq bigint;

-- Everything that takes longer than an answer. Ids sort in the order in which operations were asked for, as text too:
-- a replay's id is the revision of what it writes, and later revisions win.
CREATE SEQUENCE ops.operation_id;
CREATE TABLE ops.operations (
    id text PRIMARY KEY DEFAULT to_char(nextval('ops.operation_id'), 'FM000000000000'),
    service text NOT NULL,
    kind text NOT NULL,
    state text NOT NULL CHECK (state IN ('waiting', 'running', 'paused', 'succeeded', 'failed', 'cancelled')),
    wanted text NOT NULL DEFAULT 'run' CHECK (wanted IN ('run', 'pause', 'cancel')),
    target jsonb NOT NULL,
    counts jsonb NOT NULL DEFAULT '{}',
    progress double precision NOT NULL DEFAULT 0 CHECK (progress BETWEEN 0 AND 1),
    waiting_for text,
    error text,
    requested_by text NOT NULL,
    request_id text NOT NULL,
    worker text,
    lease_until timestamptz,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    started_at timestamptz,
    updated_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    finished_at timestamptz
) WITH (fillfactor = 70);
CREATE INDEX operations_open ON ops.operations (service) WHERE finished_at IS NULL;

-- What a dry run found, pinned to offsets, so that exactly it can be executed.
CREATE TABLE ops.plans (
    id text PRIMARY KEY DEFAULT to_char(nextval('ops.operation_id'), 'FM000000000000'),
    service text NOT NULL,
    kind text NOT NULL,
    plan jsonb NOT NULL,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp()
);

-- Dead letters that somebody has dealt with, by their place in the service's dead-letter topic.
CREATE TABLE ops.dead_letters_settled (
    service text NOT NULL,
    p integer NOT NULL,
    off bigint NOT NULL,
    outcome text NOT NULL CHECK (outcome IN ('redriven', 'discarded')),
    operation_id text NOT NULL,
    reason text,
    settled_by text NOT NULL,
    settled_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (service, p, off)
);

-- Who did what, when, and what came of it. Nobody changes or removes a line, whatever role they have.
CREATE TABLE ops.audit (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at timestamptz NOT NULL DEFAULT clock_timestamp(),
    service text NOT NULL,
    who text NOT NULL,
    action text NOT NULL,
    target text NOT NULL,
    before jsonb,
    after jsonb,
    outcome text NOT NULL,
    request_id text NOT NULL
);
CREATE INDEX audit_service ON ops.audit (service, id);
CREATE FUNCTION ops.audit_is_append_only() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'ops.audit is append-only' USING ERRCODE = 'insufficient_privilege';
END
$$;
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON ops.audit
    FOR EACH STATEMENT EXECUTE FUNCTION ops.audit_is_append_only();

-- Hashes only. The token of a data directory (a file) is not in here.
CREATE TABLE ops.tokens (
    id text PRIMARY KEY,
    name text NOT NULL UNIQUE,
    digest bytea NOT NULL,
    scope text NOT NULL CHECK (scope IN ('read', 'operate', 'admin')),
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    expires_at timestamptz,
    revoked_at timestamptz
);

-- Answers to requests that carried an Idempotency-Key.
CREATE TABLE ops.idempotency (
    subject text NOT NULL,
    key text NOT NULL,
    request_digest bytea NOT NULL,
    status integer NOT NULL,
    headers jsonb NOT NULL,
    body jsonb NOT NULL,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (subject, key)
);
CREATE INDEX idempotency_age ON ops.idempotency (created_at);
