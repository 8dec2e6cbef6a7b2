-- Since when a row of base data is known as it is: what was known before it changes nothing. Null: met, not named yet.
ALTER TABLE facts.venues ADD COLUMN known_at timestamptz;
ALTER TABLE facts.markets ADD COLUMN known_at timestamptz;
ALTER TABLE facts.grades ADD COLUMN known_at timestamptz;
ALTER TABLE facts.classes ADD COLUMN known_at timestamptz;
ALTER TABLE facts.weathers ADD COLUMN known_at timestamptz;
ALTER TABLE facts.wind_directions ADD COLUMN known_at timestamptz;
ALTER TABLE facts.techniques ADD COLUMN known_at timestamptz;
ALTER TABLE facts.place_codes ADD COLUMN known_at timestamptz;
ALTER TABLE facts.branches ADD COLUMN known_at timestamptz;
