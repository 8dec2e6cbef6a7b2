GRANT SELECT, INSERT, UPDATE, DELETE ON facts.profiles TO headrace_loader;
