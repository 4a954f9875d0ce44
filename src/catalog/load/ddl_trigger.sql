-- Tells every pgwarden in front of this database of DDL as soon as it is committed. To be run in the database by a role that
-- may make event triggers (a superuser, or what a managed service has instead).
CREATE SCHEMA IF NOT EXISTS pgwarden;

CREATE OR REPLACE FUNCTION pgwarden.tell_of_ddl() RETURNS event_trigger LANGUAGE plpgsql AS $$
BEGIN
    -- Of a temporary table nobody else needs to know.
    IF TG_TAG IN ('CREATE TABLE', 'CREATE TABLE AS', 'SELECT INTO', 'CREATE INDEX') AND NOT EXISTS (
        SELECT FROM pg_catalog.pg_event_trigger_ddl_commands() c
        WHERE c.schema_name IS DISTINCT FROM 'pg_temp' AND c.schema_name NOT LIKE 'pg\_temp\_%') THEN
        RETURN;
    END IF;
    PERFORM pg_catalog.pg_notify('pgwarden_ddl', '');
END $$;

DROP EVENT TRIGGER IF EXISTS pgwarden_ddl;
CREATE EVENT TRIGGER pgwarden_ddl ON ddl_command_end EXECUTE FUNCTION pgwarden.tell_of_ddl();
