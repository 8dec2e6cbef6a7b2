-- Each replica claims its slot at its start.
GRANT SELECT, INSERT, UPDATE, DELETE ON ops.slots TO headrace_service;
