-- What each card states about an entity. facts.entities is the fold of an entity's profiles, in the order of
-- (known_at, record_id); ranges of validity are derived from it, so they cannot overlap.
CREATE TABLE facts.profiles (
    entity_id bigint NOT NULL REFERENCES facts.entities,
    known_at timestamptz NOT NULL,
    record_id uuid NOT NULL,
    name text,
    categories jsonb NOT NULL DEFAULT '{}',
    measures jsonb NOT NULL DEFAULT '{}',
    PRIMARY KEY (entity_id, known_at, record_id)
);
-- Stands for the cards that were loaded before this table was there, until `headrace db rebuild` replaces it.
INSERT INTO facts.profiles (entity_id, known_at, record_id, name, categories)
SELECT id, known_at, '00000000-0000-0000-0000-000000000000', name, categories FROM facts.entities;
