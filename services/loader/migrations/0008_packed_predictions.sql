-- Predictions in a form that is read quickly: one row per prediction, with the probabilities in one array and what each of
-- them is in `layout`, a JSON array of [head, slot, label]. Few layouts occur, so a reader parses each once.
-- Both aggregates of a prediction see its classes in the same order.
-- Null: stored before these columns were there. The view computes them, so that no large table has to be rewritten.
ALTER TABLE facts.predictions ADD COLUMN layout text;
ALTER TABLE facts.predictions ADD COLUMN layout_values double precision[];

CREATE FUNCTION facts.pack_prediction() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    SELECT json_agg(json_build_array(h ->> 'head', (h ->> 'slot')::smallint, h ->> 'label'))::text,
           array_agg((h ->> 'probability')::double precision)
    INTO NEW.layout, NEW.layout_values
    FROM jsonb_array_elements(NEW.probabilities) AS item(h);
    RETURN NEW;
END $$;
CREATE TRIGGER pack_prediction BEFORE INSERT OR UPDATE OF probabilities ON facts.predictions
    FOR EACH ROW EXECUTE FUNCTION facts.pack_prediction();

CREATE VIEW analytics.packed_predictions AS
SELECT e.event_key, t.model_version, t.as_of, t.state, t.shadow,
       coalesce(t.layout, computed.layout) AS layout, coalesce(t.layout_values, computed.layout_values) AS probabilities
FROM facts.predictions t
JOIN facts.events e ON e.id = t.event_id
CROSS JOIN LATERAL (
    SELECT json_agg(json_build_array(h ->> 'head', (h ->> 'slot')::smallint, h ->> 'label'))::text AS layout,
           array_agg((h ->> 'probability')::double precision) AS layout_values
    FROM jsonb_array_elements(t.probabilities) AS item(h)
    WHERE t.layout IS NULL
) computed;
