-- Results of `headrace audit --record`: how many records have each fate, and how many faults of each kind were found.
CREATE TABLE ops.audit_results (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at timestamptz NOT NULL DEFAULT clock_timestamp(),
    window_from text,
    window_to text,
    fates jsonb NOT NULL,
    findings jsonb NOT NULL
);
