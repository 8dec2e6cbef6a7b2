-- Where Kafka is the broker, broker.topics also holds the local parts of its topics, named `kafka:...`: positions that
-- are kept beside rows, and the outbox. The id of the topic they belong to: under the same name it changes when the
-- topic was deleted and made anew, and then no position means anything any more.
ALTER TABLE broker.topics ADD COLUMN kafka_id uuid;
