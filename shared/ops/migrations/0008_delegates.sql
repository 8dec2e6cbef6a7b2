-- A delegate token may name the person for whom it acts (header On-Behalf-Of). A constant default rewrites no row, and a
-- service of an older version, which names the columns that it reads, treats every token as before.
ALTER TABLE ops.tokens ADD COLUMN delegate boolean NOT NULL DEFAULT false;
