-- Tells every pgwarden in front of this database of DDL as soon as it is committed. To be run in the database by a role that
-- may make event triggers (a superuser, or what a managed service has instead).
CREATE SCHEMA IF NOT EXISTS pgwarden;

CREATE OR REPLACE FUNCTION pgwarden.tell_of_ddl() RETURNS event_trigger LANGUAGE plpgsql AS $$
BEGIN
    PERFORM pg_catalog.pg_notify('pgwarden_ddl', '');
END $$;

DROP EVENT TRIGGER IF EXISTS pgwarden_ddl;
CREATE EVENT TRIGGER pgwarden_ddl ON ddl_command_end EXECUTE FUNCTION pgwarden.tell_of_ddl();
