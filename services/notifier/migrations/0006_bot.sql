-- The bot's interactions: each is stored when it arrives, so that it is handled once, and by another replica if the first
-- one dies. `token` allows answers for 15 minutes; it is removed when the interaction is done.
CREATE TABLE notifier.interactions (
    id bigint PRIMARY KEY,
    token text,
    payload jsonb NOT NULL,
    replica text NOT NULL,
    received_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    done_at timestamptz
);
CREATE INDEX interactions_open ON notifier.interactions (received_at) WHERE done_at IS NULL;

-- What a person wants to be told by direct message. `venue` and `entity_key` limit it; NULL means all.
CREATE TABLE notifier.subscriptions (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    person_id bigint NOT NULL,
    rule text NOT NULL,
    venue bigint,
    entity_key text,
    created_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    UNIQUE NULLS NOT DISTINCT (person_id, rule, venue, entity_key)
);
CREATE INDEX subscriptions_rule ON notifier.subscriptions (rule);
