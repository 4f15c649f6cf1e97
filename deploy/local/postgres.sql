-- Roles and databases of the embedded stack. Runs at every start: creates what is missing, repeats what may be repeated.
-- A failing statement must not write a password into the server's log.
SET log_min_error_statement = panic;

\getenv lakemill_password LAKEMILL_DATABASE_PASSWORD
\getenv dagster_password LAKEMILL_DAGSTER_PASSWORD
\getenv reader_password LAKEMILL_READER_PASSWORD

SELECT format('CREATE ROLE %I', name) FROM unnest(ARRAY['lakemill', 'dagster', 'lakemill_reader']) AS name
WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = name) \gexec
ALTER ROLE lakemill LOGIN PASSWORD :'lakemill_password';
ALTER ROLE dagster LOGIN PASSWORD :'dagster_password';
ALTER ROLE lakemill_reader LOGIN PASSWORD :'reader_password';
ALTER ROLE lakemill_reader SET default_transaction_read_only = on;

SELECT format('CREATE DATABASE %I OWNER %I', name, name) FROM unnest(ARRAY['lakemill', 'dagster']) AS name
WHERE NOT EXISTS (SELECT FROM pg_database WHERE datname = name) \gexec
-- Each plane enters its own database only; the reader enters Dagster's.
REVOKE ALL ON DATABASE lakemill, dagster FROM PUBLIC;
GRANT CONNECT ON DATABASE dagster TO lakemill_reader;

\connect dagster
SET log_min_error_statement = panic;
GRANT USAGE ON SCHEMA public TO lakemill_reader;
ALTER DEFAULT PRIVILEGES FOR ROLE dagster IN SCHEMA public GRANT SELECT ON TABLES TO lakemill_reader;
GRANT SELECT ON ALL TABLES IN SCHEMA public TO lakemill_reader;
