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
-- Of Dagster's tables the reader needs two. Dagster makes them after this file has run, so they are granted as they come.
CREATE OR REPLACE FUNCTION public.grant_runs_to_reader() RETURNS event_trigger LANGUAGE plpgsql AS $$
DECLARE
    made text;
BEGIN
    FOR made IN
        SELECT object_identity FROM pg_event_trigger_ddl_commands()
        WHERE object_type = 'table' AND object_identity IN ('public.runs', 'public.run_tags')
    LOOP
        EXECUTE format('GRANT SELECT ON %s TO lakemill_reader', made);
    END LOOP;
END $$;
DROP EVENT TRIGGER IF EXISTS grant_runs_to_reader;
CREATE EVENT TRIGGER grant_runs_to_reader ON ddl_command_end
    WHEN TAG IN ('CREATE TABLE') EXECUTE FUNCTION public.grant_runs_to_reader();
-- What an earlier start may have granted is taken back.
ALTER DEFAULT PRIVILEGES FOR ROLE dagster IN SCHEMA public REVOKE SELECT ON TABLES FROM lakemill_reader;
REVOKE ALL ON ALL TABLES IN SCHEMA public FROM lakemill_reader;
SELECT format('GRANT SELECT ON %I.%I TO lakemill_reader', schemaname, tablename) FROM pg_tables
WHERE schemaname = 'public' AND tablename IN ('runs', 'run_tags') \gexec
