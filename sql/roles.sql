-- Roles of the control database. Run as a superuser, connected to that database, before
-- schema.sql; running it again changes nothing. Passwords are set by whoever holds them
-- (`millrace up`), never here.

DO $$
DECLARE
    role_name text;
BEGIN
    -- Roles belong to the whole server, so two databases may be prepared at the same moment.
    PERFORM pg_advisory_xact_lock(hashtextextended('millrace.roles', 0));
    FOREACH role_name IN ARRAY ARRAY['millrace', 'millrace_kernel', 'millrace_author'] LOOP
        IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = role_name) THEN
            EXECUTE format('CREATE ROLE %I LOGIN', role_name);
        END IF;
    END LOOP;
    IF NOT pg_has_role('millrace_author', 'millrace_kernel', 'MEMBER') THEN
        GRANT millrace_kernel TO millrace_author;
    END IF;
    EXECUTE format('REVOKE ALL ON DATABASE %I FROM PUBLIC', current_database());
    EXECUTE format('GRANT CONNECT, CREATE, TEMPORARY ON DATABASE %I TO millrace', current_database());
    EXECUTE format(
        'GRANT CONNECT, TEMPORARY ON DATABASE %I TO millrace_kernel, millrace_author',
        current_database()
    );
    -- Existing scripts may name their tables without a schema.
    EXECUTE format(
        'ALTER DATABASE %I SET search_path = "$user", public, cntl_af', current_database()
    );
    -- All kernels share a role, and a role sees its own sessions' statements, tokens included.
    ALTER ROLE millrace_kernel SET track_activities = off;
    ALTER ROLE millrace_author SET track_activities = off;
END
$$;

-- Nor may one kernel watch, cancel or end another's session.
REVOKE SELECT ON pg_catalog.pg_stat_activity FROM PUBLIC;
REVOKE EXECUTE ON FUNCTION pg_catalog.pg_stat_get_activity(integer) FROM PUBLIC;
REVOKE EXECUTE ON FUNCTION pg_catalog.pg_stat_get_backend_activity(integer) FROM PUBLIC;
REVOKE EXECUTE ON FUNCTION pg_catalog.pg_cancel_backend(integer) FROM PUBLIC;
REVOKE EXECUTE ON FUNCTION pg_catalog.pg_terminate_backend(integer, bigint) FROM PUBLIC;
GRANT SELECT ON pg_catalog.pg_stat_activity TO millrace;
GRANT EXECUTE ON FUNCTION
    pg_catalog.pg_stat_get_activity(integer),
    pg_catalog.pg_cancel_backend(integer),
    pg_catalog.pg_terminate_backend(integer, bigint)
TO millrace;
