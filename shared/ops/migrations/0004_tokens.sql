-- A rotated token and the one that takes its place bear one name, side by side until the grace has passed. A name whose
-- token was revoked may be given again.
ALTER TABLE ops.tokens DROP CONSTRAINT tokens_name_key;
ALTER TABLE ops.tokens ADD COLUMN replaced_by text REFERENCES ops.tokens (id) DEFERRABLE;
CREATE UNIQUE INDEX tokens_current ON ops.tokens (name) WHERE revoked_at IS NULL AND replaced_by IS NULL;
