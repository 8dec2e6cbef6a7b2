GRANT USAGE ON SCHEMA fetcher TO headrace_fetcher;
GRANT SELECT, INSERT, UPDATE ON fetcher.gates TO headrace_fetcher;
