-- Facts as rows. The loader is their only writer; `analytics` is what people read.
CREATE SCHEMA facts;

CREATE TABLE facts.sources (
    id smallint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    name text NOT NULL UNIQUE
);

-- Base data: what a source's codes mean. A code may be met in an event before its table arrives: then name is null.
CREATE TABLE facts.venues (
    id integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    source_id smallint NOT NULL REFERENCES facts.sources,
    code text NOT NULL,
    name text,
    attributes jsonb NOT NULL DEFAULT '{}',
    UNIQUE (source_id, code)
);
CREATE TABLE facts.markets (LIKE facts.venues INCLUDING ALL, FOREIGN KEY (source_id) REFERENCES facts.sources);
CREATE TABLE facts.grades (LIKE facts.venues INCLUDING ALL, FOREIGN KEY (source_id) REFERENCES facts.sources);
CREATE TABLE facts.classes (LIKE facts.venues INCLUDING ALL, FOREIGN KEY (source_id) REFERENCES facts.sources);
CREATE TABLE facts.weathers (LIKE facts.venues INCLUDING ALL, FOREIGN KEY (source_id) REFERENCES facts.sources);
CREATE TABLE facts.wind_directions (LIKE facts.venues INCLUDING ALL, FOREIGN KEY (source_id) REFERENCES facts.sources);
CREATE TABLE facts.techniques (LIKE facts.venues INCLUDING ALL, FOREIGN KEY (source_id) REFERENCES facts.sources);
CREATE TABLE facts.place_codes (LIKE facts.venues INCLUDING ALL, FOREIGN KEY (source_id) REFERENCES facts.sources);
CREATE TABLE facts.branches (LIKE facts.venues INCLUDING ALL, FOREIGN KEY (source_id) REFERENCES facts.sources);

CREATE TABLE facts.sessions (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    session_key text NOT NULL UNIQUE,
    source_id smallint NOT NULL REFERENCES facts.sources,
    venue_id integer NOT NULL REFERENCES facts.venues,
    date date NOT NULL,
    title text,
    grade integer
);
CREATE INDEX sessions_date ON facts.sessions (date);

CREATE TABLE facts.events (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    event_key text NOT NULL UNIQUE,
    session_id bigint NOT NULL REFERENCES facts.sessions,
    number integer NOT NULL,
    scheduled_at timestamptz,
    title text,
    distance_m integer,
    card_key text,
    status text NOT NULL DEFAULT 'listed'
        CHECK (status IN ('listed', 'observed', 'provisional', 'settled', 'void', 'cancelled')),
    technique integer,
    conditions jsonb,
    observed_conditions jsonb,
    missing_markets text[],
    version integer NOT NULL DEFAULT 1,
    listed_at timestamptz,
    observed_at timestamptz,
    settled_at timestamptz
) WITH (fillfactor = 80);
CREATE INDEX events_session ON facts.events (session_id);
CREATE INDEX events_cancelled_card ON facts.events (card_key) WHERE card_key IS NOT NULL;
CREATE INDEX events_scheduled ON facts.events (scheduled_at);

CREATE TABLE facts.entities (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    entity_key text NOT NULL UNIQUE,
    source_id smallint NOT NULL REFERENCES facts.sources,
    name text,
    categories jsonb NOT NULL DEFAULT '{}',
    known_at timestamptz NOT NULL
);

CREATE TABLE facts.entries (
    event_id bigint NOT NULL REFERENCES facts.events,
    slot smallint NOT NULL,
    entity_id bigint REFERENCES facts.entities,
    measures jsonb NOT NULL DEFAULT '{}',
    categories jsonb NOT NULL DEFAULT '{}',
    PRIMARY KEY (event_id, slot)
);
CREATE INDEX entries_entity ON facts.entries (entity_id);

CREATE TABLE facts.observations (
    event_id bigint NOT NULL REFERENCES facts.events,
    slot smallint NOT NULL,
    course smallint,
    measures jsonb NOT NULL DEFAULT '{}',
    PRIMARY KEY (event_id, slot)
);

CREATE TABLE facts.outcomes (
    event_id bigint NOT NULL REFERENCES facts.events,
    slot smallint NOT NULL,
    place smallint,
    code smallint,
    course smallint,
    start_timing_s double precision,
    refunded boolean NOT NULL DEFAULT false,
    PRIMARY KEY (event_id, slot)
);

-- amount: in the source's currency per 100 staked.
CREATE TABLE facts.transactions (
    event_id bigint NOT NULL REFERENCES facts.events,
    market text NOT NULL,
    selection text NOT NULL,
    amount bigint NOT NULL CHECK (amount >= 0),
    ordinal smallint NOT NULL,
    PRIMARY KEY (event_id, market, selection)
);

-- Every version of every fact, also those that changed nothing when they came: the current rows are their fold (services/loader/fold.py).
CREATE TABLE facts.versions (
    event_id bigint NOT NULL REFERENCES facts.events,
    kind text NOT NULL CHECK (kind IN ('listed', 'observed', 'settled')),
    version integer NOT NULL,
    known_at timestamptz NOT NULL,
    revision text NOT NULL,
    record_id uuid NOT NULL,
    body bytea NOT NULL,
    PRIMARY KEY (event_id, kind, version)
);
ALTER TABLE facts.versions ALTER COLUMN body SET STORAGE EXTERNAL;

-- A later fact that lacks what an earlier one gave: not applied, kept visible.
CREATE TABLE facts.regressions (
    record_id uuid NOT NULL,
    event_id bigint NOT NULL REFERENCES facts.events,
    kind text NOT NULL,
    field text NOT NULL,
    kept text NOT NULL,
    known_at timestamptz NOT NULL,
    PRIMARY KEY (event_id, kind, record_id, field)
);

-- A later fact with another value: applied, the old value kept here.
CREATE TABLE facts.corrections (
    record_id uuid NOT NULL,
    event_id bigint NOT NULL REFERENCES facts.events,
    kind text NOT NULL,
    field text NOT NULL,
    old text NOT NULL,
    new text,
    known_at timestamptz NOT NULL,
    PRIMARY KEY (event_id, kind, record_id, field)
);

-- Children whose parent is not there yet; released in the parent's transaction.
CREATE TABLE facts.parked (
    record_id uuid PRIMARY KEY,
    parent_key text NOT NULL,
    topic text NOT NULL,
    p integer NOT NULL,
    off bigint NOT NULL,
    kind text NOT NULL,
    reason text NOT NULL,
    value bytea NOT NULL,
    headers jsonb NOT NULL,
    parked_at timestamptz NOT NULL
);
CREATE INDEX parked_parent ON facts.parked (parent_key);

-- Kept per loader slot, so that loaders working side by side never wait for each other; the view sums.
CREATE TABLE facts.return_rates (
    slot text NOT NULL,
    source_id smallint NOT NULL REFERENCES facts.sources,
    scope text NOT NULL,
    key text NOT NULL,
    market text NOT NULL,
    bets bigint NOT NULL,
    staked bigint NOT NULL,
    returned bigint NOT NULL,
    as_of timestamptz NOT NULL,
    PRIMARY KEY (slot, source_id, scope, key, market)
) WITH (fillfactor = 70);

CREATE TABLE facts.predictions (
    record_id uuid PRIMARY KEY,
    event_id bigint NOT NULL REFERENCES facts.events,
    state text NOT NULL CHECK (state IN ('card', 'observation')),
    model_version text NOT NULL,
    as_of timestamptz NOT NULL,
    shadow boolean NOT NULL,
    feature_hash text NOT NULL,
    probabilities jsonb NOT NULL,
    decision jsonb
);
CREATE INDEX predictions_event ON facts.predictions (event_id);

CREATE TABLE facts.dead_letters (
    service text NOT NULL,
    record_id uuid NOT NULL,
    topic text NOT NULL,
    p integer NOT NULL,
    off bigint NOT NULL,
    key text NOT NULL,
    error text NOT NULL,
    message text NOT NULL,
    attempts integer NOT NULL,
    failed_at timestamptz NOT NULL,
    PRIMARY KEY (service, topic, p, off)
);

-- Days whose CSV files are older than their rows.
CREATE TABLE facts.export_days (
    source_id smallint NOT NULL REFERENCES facts.sources,
    date date NOT NULL,
    touched bigint NOT NULL DEFAULT 1,
    exported bigint NOT NULL DEFAULT 0,
    PRIMARY KEY (source_id, date)
);
