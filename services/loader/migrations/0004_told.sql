-- Whether the version was told downstream, in a loaded event of the same unit: an audit looks for that event. Null: stored
-- before this column was there.
ALTER TABLE facts.versions ADD COLUMN told boolean;
