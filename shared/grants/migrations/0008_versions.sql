-- For questions about the past.
GRANT SELECT ON analytics.versions TO headrace_reader;
