-- Alerts about the pipeline: what is wrong, since when, and who has acknowledged it.
CREATE TABLE notifier.incidents (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    rule text NOT NULL,
    kind text NOT NULL,
    subject text NOT NULL,
    severity text NOT NULL CHECK (severity IN ('critical', 'warning')),
    opened_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    last_seen_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    detail jsonb NOT NULL,
    acknowledged_at timestamptz,
    acknowledged_by text,
    resolved_at timestamptz
);
CREATE UNIQUE INDEX incidents_open ON notifier.incidents (rule, subject) WHERE resolved_at IS NULL;

-- Rules whose notifications are dropped until a time, or until an operator ends the mute.
CREATE TABLE notifier.mutes (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    rule text NOT NULL,
    until timestamptz NOT NULL,
    by text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    ended_at timestamptz
);
CREATE INDEX mutes_not_ended ON notifier.mutes (until) WHERE ended_at IS NULL;

-- What the bot knows of itself. `token`: {"accepted": false, "reason": "..."}.
CREATE TABLE notifier.bot_state (
    kind text PRIMARY KEY,
    value jsonb NOT NULL,
    changed_at timestamptz NOT NULL DEFAULT clock_timestamp()
);
