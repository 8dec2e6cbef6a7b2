-- A database of time travel: nothing is in it that was not known at this instant. At most one row.
CREATE TABLE facts.horizon (
    one_row boolean PRIMARY KEY DEFAULT true CHECK (one_row),
    as_of timestamptz NOT NULL
);
