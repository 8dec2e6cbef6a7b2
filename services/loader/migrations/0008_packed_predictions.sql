-- Predictions in a form that is read quickly: one row per prediction, with the probabilities in one array and what each of
-- them is in `layout`, a JSON array of [head, slot, label]. Few layouts occur, so a reader parses each once.
CREATE FUNCTION facts.prediction_layout(probabilities jsonb) RETURNS text LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT jsonb_agg(jsonb_build_array(h ->> 'head', (h ->> 'slot')::smallint, h ->> 'label') ORDER BY n)::text
    FROM jsonb_array_elements(probabilities) WITH ORDINALITY AS item(h, n)
$$;
CREATE FUNCTION facts.prediction_values(probabilities jsonb) RETURNS double precision[] LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
    SELECT array_agg((h ->> 'probability')::double precision ORDER BY n)
    FROM jsonb_array_elements(probabilities) WITH ORDINALITY AS item(h, n)
$$;

-- Null: stored before these columns were there. The view computes them, so that no large table has to be rewritten.
ALTER TABLE facts.predictions ADD COLUMN layout text;
ALTER TABLE facts.predictions ADD COLUMN layout_values double precision[];

CREATE FUNCTION facts.pack_prediction() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    NEW.layout := facts.prediction_layout(NEW.probabilities);
    NEW.layout_values := facts.prediction_values(NEW.probabilities);
    RETURN NEW;
END $$;
CREATE TRIGGER pack_prediction BEFORE INSERT OR UPDATE OF probabilities ON facts.predictions
    FOR EACH ROW EXECUTE FUNCTION facts.pack_prediction();

CREATE VIEW analytics.packed_predictions AS
SELECT e.event_key, t.model_version, t.as_of, t.state, t.shadow,
       coalesce(t.layout, facts.prediction_layout(t.probabilities)) AS layout,
       coalesce(t.layout_values, facts.prediction_values(t.probabilities)) AS probabilities
FROM facts.predictions t JOIN facts.events e ON e.id = t.event_id;
