-- What the cards of an event state about its session. Title and grade of a session are the newest of its events, so they do
-- not depend on the order of arrival.
-- squawk-ignore prefer-bigint-over-int
ALTER TABLE facts.events ADD COLUMN session_title text, ADD COLUMN session_grade integer;
UPDATE facts.events e SET session_title = nullif(s.title, ''), session_grade = s.grade
FROM facts.sessions s WHERE s.id = e.session_id AND e.listed_at IS NOT NULL;
COMMENT ON COLUMN facts.events.session_title IS 'Title of the session, as the event''s cards state it.';
COMMENT ON COLUMN facts.events.session_grade IS 'Code of the session''s grade, as the event''s cards state it.';
COMMENT ON COLUMN facts.sessions.title IS 'Title: the newest session_title of its events.';
COMMENT ON COLUMN facts.sessions.grade IS 'Code of the grade: the newest session_grade of its events.';
