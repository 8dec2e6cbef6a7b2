-- Runs one statement as the reader, for `headrace sql` with the login of the owner or of a superuser. SET ROLE alone does
-- not hold: a statement can reset the role while it runs. Inside this function PostgreSQL refuses to.
CREATE FUNCTION analytics.read_rows(statement text) RETURNS SETOF record LANGUAGE plpgsql SECURITY DEFINER
SET search_path = analytics, pg_catalog, pg_temp AS $$
BEGIN
    RETURN QUERY EXECUTE statement;
END
$$;
REVOKE EXECUTE ON FUNCTION analytics.read_rows FROM PUBLIC;
-- An owner must be able to make functions in the schema at the moment at which it becomes the owner.
GRANT CREATE ON SCHEMA analytics TO headrace_reader;
ALTER FUNCTION analytics.read_rows OWNER TO headrace_reader;
REVOKE CREATE ON SCHEMA analytics FROM headrace_reader;
