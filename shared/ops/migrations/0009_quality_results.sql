-- Results of `headrace quality --record`: how many values break each threshold, and the worst of them in words.
CREATE TABLE ops.quality_results (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at timestamptz NOT NULL DEFAULT clock_timestamp(),
    first_day date NOT NULL,
    last_day date NOT NULL,
    broken jsonb NOT NULL,
    findings jsonb NOT NULL
);
