-- The control schema of Millrace: what to run, what ran, and who may write about it.
-- Run as the role `millrace`, after roles.sql. sql/migrations/ adds up to this file.

CREATE SCHEMA control;

COMMENT ON SCHEMA control IS 'Streams, groups, processes, dependencies, schedules; their runs and snapshots.';


-- Checks shared by the tables ---------------------------------------------------------------

-- Names become DAG ids, run ids and file names.
CREATE DOMAIN control.name AS text
    CONSTRAINT name_pattern CHECK (VALUE ~ '^[A-Za-z0-9_.-]{1,200}$' AND VALUE !~ '^\.+$');

COMMENT ON DOMAIN control.name IS '1-200 of A-Z a-z 0-9 _ . -, and not dots alone.';

CREATE FUNCTION control.cron_value(value text, lowest integer, names text[]) RETURNS integer
LANGUAGE sql IMMUTABLE AS $$
    SELECT CASE
        WHEN value ~ '^[0-9]{1,2}$' THEN value::integer
        ELSE array_position(names, lower(value)) - 1 + lowest
    END
$$;

COMMENT ON FUNCTION control.cron_value IS 'The number a cron value stands for, or NULL.';

-- A range may run backwards over the end (fri-mon, 22-2). One with equal ends is refused: cron
-- readers take 0-0 for "every".
CREATE FUNCTION control.is_cron_field(
    field text, lowest integer, highest integer, names text[] DEFAULT '{}'
) RETURNS boolean
LANGUAGE sql IMMUTABLE AS $$
    SELECT coalesce(bool_and(coalesce(
        part IS NOT NULL
        AND (part[1] = '*' OR control.cron_value(part[2], lowest, names) BETWEEN lowest AND highest)
        AND (
            part[3] IS NULL
            OR control.cron_value(part[3], lowest, names) BETWEEN lowest AND highest
            AND control.cron_value(part[3], lowest, names)
                <> control.cron_value(part[2], lowest, names)
        )
        AND (part[4] IS NULL OR part[4]::integer >= 1),
        false
    )), false)
    FROM regexp_split_to_table(field, ',') AS item,
    LATERAL (
        SELECT regexp_match(item, '^(\*|([0-9A-Za-z]+)(?:-([0-9A-Za-z]+))?)(?:/([0-9]{1,2}))?$')
    ) AS matched (part)
$$;

COMMENT ON FUNCTION control.is_cron_field IS
    'Whether a text is one cron field: *, values, names, ranges, steps, and lists of those.';


-- What to run -------------------------------------------------------------------------------

CREATE TABLE control.stream (
    stream_name control.name PRIMARY KEY,
    description text NOT NULL DEFAULT '',
    question text NOT NULL DEFAULT '',
    owner text NOT NULL DEFAULT 'millrace',
    parameters jsonb NOT NULL DEFAULT '{}',
    time_zone text NOT NULL DEFAULT 'UTC',
    is_live boolean NOT NULL DEFAULT true,
    data_date date,
    max_active_runs integer NOT NULL DEFAULT 1,
    catchup boolean NOT NULL DEFAULT false,
    notify text,
    is_active boolean NOT NULL DEFAULT true,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT stream_parameters_object CHECK (jsonb_typeof(parameters) = 'object'),
    CONSTRAINT stream_max_active_runs_positive CHECK (max_active_runs >= 1),
    CONSTRAINT stream_data_date_finite CHECK (isfinite(data_date))
);

CREATE TABLE control.process_group (
    group_name control.name PRIMARY KEY,
    stream_name control.name NOT NULL,
    priority integer NOT NULL DEFAULT 0,
    on_failure text NOT NULL DEFAULT 'stop',
    is_active boolean NOT NULL DEFAULT true,
    updated_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT process_group_stream_exists FOREIGN KEY (stream_name) REFERENCES control.stream
        ON UPDATE CASCADE DEFERRABLE INITIALLY DEFERRED,
    CONSTRAINT process_group_priority_not_negative CHECK (priority >= 0),
    CONSTRAINT process_group_on_failure_known CHECK (on_failure IN ('stop', 'continue'))
);

CREATE TABLE control.source_file (
    source_file control.name PRIMARY KEY,
    file_type text NOT NULL,
    delimiter text,
    chunk_size integer NOT NULL DEFAULT 256,
    chunk_overlap integer NOT NULL DEFAULT 32,
    lake_prefix text NOT NULL DEFAULT '',
    updated_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT source_file_type_known CHECK (
        file_type IN ('pdf', 'csv', 'txt', 'md', 'html', 'docx', 'json', 'jsonl', 'parquet')
    ),
    CONSTRAINT source_file_delimiter_short CHECK (char_length(delimiter) BETWEEN 1 AND 8),
    CONSTRAINT source_file_chunk_size_positive CHECK (chunk_size > 0),
    CONSTRAINT source_file_overlap_fits CHECK (chunk_overlap >= 0 AND chunk_overlap < chunk_size)
);

CREATE TABLE control.process (
    process_name control.name PRIMARY KEY,
    group_name control.name NOT NULL,
    priority integer NOT NULL DEFAULT 0,
    notebook_path text NOT NULL,
    parameters jsonb NOT NULL DEFAULT '{}',
    source_file control.name,
    embed_model text,
    gen_model text,
    collection text,
    retries integer NOT NULL DEFAULT 0,
    retry_delay_s integer NOT NULL DEFAULT 60,
    timeout_s integer NOT NULL DEFAULT 3600,
    memory_limit_mb integer,
    pool text NOT NULL DEFAULT 'default_pool',
    llm_priority text NOT NULL DEFAULT 'batch',
    is_active boolean NOT NULL DEFAULT true,
    updated_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT process_group_exists FOREIGN KEY (group_name) REFERENCES control.process_group
        ON UPDATE CASCADE DEFERRABLE INITIALLY DEFERRED,
    CONSTRAINT process_source_file_exists FOREIGN KEY (source_file) REFERENCES control.source_file
        ON UPDATE CASCADE DEFERRABLE INITIALLY DEFERRED,
    CONSTRAINT process_priority_not_negative CHECK (priority >= 0),
    CONSTRAINT process_notebook_path_given CHECK (notebook_path <> ''),
    CONSTRAINT process_parameters_object CHECK (jsonb_typeof(parameters) = 'object'),
    CONSTRAINT process_retries_not_negative CHECK (retries >= 0),
    CONSTRAINT process_retry_delay_not_negative CHECK (retry_delay_s >= 0),
    CONSTRAINT process_timeout_positive CHECK (timeout_s > 0),
    CONSTRAINT process_memory_limit_positive CHECK (memory_limit_mb > 0),
    CONSTRAINT process_llm_priority_known CHECK (llm_priority IN ('api', 'web', 'async', 'batch'))
);

CREATE TABLE control.process_dependency (
    process_name control.name NOT NULL,
    depends_on control.name NOT NULL,
    is_active boolean NOT NULL DEFAULT true,
    updated_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (process_name, depends_on),
    CONSTRAINT process_dependency_process_exists FOREIGN KEY (process_name)
        REFERENCES control.process ON UPDATE CASCADE DEFERRABLE INITIALLY DEFERRED,
    CONSTRAINT process_dependency_depends_on_exists FOREIGN KEY (depends_on)
        REFERENCES control.process ON UPDATE CASCADE DEFERRABLE INITIALLY DEFERRED,
    CONSTRAINT process_dependency_not_itself CHECK (process_name <> depends_on)
);

CREATE TABLE control.schedule (
    stream_name control.name PRIMARY KEY,
    minute text NOT NULL DEFAULT '0',
    hour text NOT NULL DEFAULT '0',
    day_of_month text NOT NULL DEFAULT '*',
    month text NOT NULL DEFAULT '*',
    day_of_week text NOT NULL DEFAULT '*',
    is_active boolean NOT NULL DEFAULT true,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT schedule_stream_exists FOREIGN KEY (stream_name) REFERENCES control.stream
        ON UPDATE CASCADE DEFERRABLE INITIALLY DEFERRED,
    CONSTRAINT schedule_minute_is_cron CHECK (control.is_cron_field(minute, 0, 59)),
    CONSTRAINT schedule_hour_is_cron CHECK (control.is_cron_field(hour, 0, 23)),
    CONSTRAINT schedule_day_of_month_is_cron CHECK (control.is_cron_field(day_of_month, 1, 31)),
    CONSTRAINT schedule_month_is_cron CHECK (control.is_cron_field(
        month, 1, 12, '{jan,feb,mar,apr,may,jun,jul,aug,sep,oct,nov,dec}'
    )),
    CONSTRAINT schedule_day_of_week_is_cron CHECK (control.is_cron_field(
        day_of_week, 0, 7, '{sun,mon,tue,wed,thu,fri,sat}'
    ))
);

CREATE INDEX process_group_by_stream ON control.process_group (stream_name);
CREATE INDEX process_by_group ON control.process (group_name);
CREATE INDEX process_by_source_file ON control.process (source_file);
CREATE INDEX process_dependency_by_depends_on ON control.process_dependency (depends_on);


-- What the rows were, and who changed them --------------------------------------------------

CREATE TABLE control.snapshot (
    control_version text PRIMARY KEY,
    taken_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    content jsonb NOT NULL,
    format integer NOT NULL DEFAULT 1,
    CONSTRAINT snapshot_version_given CHECK (control_version <> '')
);

CREATE INDEX snapshot_by_taken_at ON control.snapshot (taken_at DESC);

CREATE TABLE control.change_log (
    change_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    changed_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    changed_by text NOT NULL DEFAULT session_user,
    table_name text NOT NULL,
    operation text NOT NULL,
    row_key jsonb NOT NULL,
    before jsonb,
    after jsonb
);

CREATE INDEX change_log_by_table ON control.change_log (table_name, changed_at DESC);


-- What ran ----------------------------------------------------------------------------------

CREATE TABLE control.stream_run (
    stream_name control.name NOT NULL,
    data_date date NOT NULL,
    generation integer NOT NULL,
    control_version text NOT NULL REFERENCES control.snapshot,
    state text NOT NULL DEFAULT 'running',
    opened_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    ended_at timestamptz,
    message text NOT NULL DEFAULT '',
    PRIMARY KEY (stream_name, data_date, generation),
    CONSTRAINT stream_run_generation_positive CHECK (generation >= 1),
    CONSTRAINT stream_run_state_known CHECK (state IN ('running', 'success', 'failed'))
);

CREATE INDEX stream_run_by_opened_at ON control.stream_run (opened_at DESC);
CREATE INDEX stream_run_by_control_version ON control.stream_run (control_version);

CREATE TABLE control.stream_run_member (
    stream_name control.name NOT NULL,
    dag_run_id text NOT NULL,
    clear_number integer NOT NULL,
    data_date date NOT NULL,
    generation integer NOT NULL,
    control_version text NOT NULL REFERENCES control.snapshot,
    joined_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (stream_name, dag_run_id, clear_number),
    CONSTRAINT stream_run_member_of FOREIGN KEY (stream_name, data_date, generation)
        REFERENCES control.stream_run ON DELETE CASCADE
);

CREATE INDEX stream_run_member_by_run
    ON control.stream_run_member (stream_name, data_date, generation);
CREATE INDEX stream_run_member_by_control_version ON control.stream_run_member (control_version);

CREATE TABLE control.process_run (
    process_name control.name NOT NULL,
    data_date date NOT NULL,
    generation integer NOT NULL,
    stream_name text NOT NULL,
    state text NOT NULL,
    fence bigint NOT NULL DEFAULT 0,
    control_version text REFERENCES control.snapshot,
    dag_run_id text,
    requested_by text,
    clear_number integer NOT NULL DEFAULT 0,
    queued_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    started_at timestamptz,
    heartbeat_at timestamptz,
    ended_at timestamptz,
    message text,
    token_sha256 text,
    PRIMARY KEY (process_name, data_date, generation),
    CONSTRAINT process_run_generation_positive CHECK (generation >= 1),
    CONSTRAINT process_run_state_known CHECK (
        state IN ('queued', 'running', 'retrying', 'success', 'failed', 'skipped')
    ),
    CONSTRAINT process_run_ended_when_over CHECK (
        (ended_at IS NULL) = (state IN ('queued', 'running', 'retrying'))
    )
);

CREATE UNIQUE INDEX process_run_by_token ON control.process_run (token_sha256);
CREATE INDEX process_run_live ON control.process_run (process_name)
    WHERE state IN ('queued', 'running', 'retrying');
CREATE INDEX process_run_by_control_version ON control.process_run (control_version);
CREATE INDEX process_run_by_dag_run ON control.process_run (process_name, dag_run_id);

CREATE TABLE control.run_log (
    run_id text NOT NULL,
    attempt integer NOT NULL,
    process_name control.name NOT NULL,
    stream_name text NOT NULL,
    data_date date NOT NULL,
    generation integer NOT NULL,
    status text NOT NULL DEFAULT 'running',
    started_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    ended_at timestamptz,
    source_rows bigint,
    target_rows bigint,
    tokens_in bigint,
    tokens_out bigint,
    llm_seconds double precision,
    message text NOT NULL DEFAULT '',
    control_version text REFERENCES control.snapshot,
    notebook_sha256 text,
    executed_notebook_uri text,
    dag_run_id text,
    fence bigint NOT NULL,
    PRIMARY KEY (run_id, attempt),
    CONSTRAINT run_log_of FOREIGN KEY (process_name, data_date, generation)
        REFERENCES control.process_run ON DELETE CASCADE,
    CONSTRAINT run_log_fence_once UNIQUE (process_name, data_date, generation, fence),
    CONSTRAINT run_log_status_known CHECK (
        status IN ('running', 'success', 'failed', 'crashed', 'skipped')
    ),
    CONSTRAINT run_log_ended_when_over CHECK ((ended_at IS NULL) = (status = 'running'))
);

CREATE INDEX run_log_by_started_at ON control.run_log (started_at DESC);
CREATE INDEX run_log_by_stream ON control.run_log (stream_name, started_at DESC);
CREATE INDEX run_log_by_process ON control.run_log (process_name, started_at DESC);
CREATE INDEX run_log_by_control_version ON control.run_log (control_version);

CREATE TABLE control.schema_version (
    version integer PRIMARY KEY,
    name text NOT NULL,
    applied_at timestamptz NOT NULL DEFAULT clock_timestamp()
);


-- Triggers ----------------------------------------------------------------------------------

CREATE FUNCTION control.touch_updated_at() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.updated_at IS NOT DISTINCT FROM OLD.updated_at THEN
        NEW.updated_at := now();
    END IF;
    RETURN NEW;
END
$$;

COMMENT ON FUNCTION control.touch_updated_at IS
    'Sets updated_at on a change that does not set it itself.';

CREATE FUNCTION control.require_time_zone() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
    -- Reading the zones takes 20 ms; a zone that a stream has already is a zone.
    IF NEW.time_zone <> 'UTC'
        AND NOT EXISTS (SELECT FROM control.stream WHERE time_zone = NEW.time_zone)
        AND NOT EXISTS (SELECT FROM pg_timezone_names WHERE name = NEW.time_zone)
    THEN
        RAISE EXCEPTION 'stream %: % is not a time zone', NEW.stream_name, quote_literal(NEW.time_zone)
            USING ERRCODE = 'check_violation', CONSTRAINT = 'stream_time_zone_known',
                HINT = 'Use a name of pg_timezone_names, such as Europe/Berlin.';
    END IF;
    RETURN NEW;
END
$$;

COMMENT ON FUNCTION control.require_time_zone IS 'Refuses a time zone that Postgres does not know.';

-- Breadth first, so that the circle named is a shortest one and a node is looked at once.
-- Volatile, so that it sees what was committed while the caller waited for its lock.
CREATE FUNCTION control.dependency_path(first_name text, last_name text) RETURNS text[]
LANGUAGE plpgsql AS $$
DECLARE
    reached text[] := ARRAY[first_name];
    came_from text[] := ARRAY[NULL::text];
    frontier text[] := ARRAY[first_name];
    next_names text[];
    next_from text[];
    path text[];
    here text;
BEGIN
    WHILE frontier IS NOT NULL AND NOT last_name = ANY (reached) LOOP
        SELECT array_agg(step.depends_on), array_agg(step.process_name)
        INTO next_names, next_from
        FROM (
            SELECT DISTINCT ON (depends_on) depends_on::text, process_name::text
            FROM control.process_dependency
            WHERE process_name = ANY (frontier) AND is_active AND depends_on <> ALL (reached)
            ORDER BY depends_on, process_name
        ) AS step;
        reached := reached || next_names;
        came_from := came_from || next_from;
        frontier := next_names;
    END LOOP;
    IF NOT last_name = ANY (reached) THEN
        RETURN NULL;
    END IF;
    here := last_name;
    WHILE here IS NOT NULL LOOP
        path := here || path;
        here := came_from[array_position(reached, here)];
    END LOOP;
    RETURN path;
END
$$;

COMMENT ON FUNCTION control.dependency_path IS
    'The shortest way along active dependencies from one process to another, or NULL.';

CREATE FUNCTION control.refuse_circle() RETURNS trigger
LANGUAGE plpgsql AS $$
DECLARE
    path text[];
BEGIN
    -- Two transactions could each commit one half of a circle: they take turns.
    PERFORM pg_advisory_xact_lock(hashtextextended('control.process_dependency', 0));
    IF NOT EXISTS (
        SELECT FROM control.process_dependency
        WHERE process_name = NEW.process_name AND depends_on = NEW.depends_on AND is_active
    ) THEN
        RETURN NULL;
    END IF;
    path := control.dependency_path(NEW.depends_on, NEW.process_name);
    IF path IS NOT NULL THEN
        RAISE EXCEPTION 'dependencies go in a circle: %',
            array_to_string(NEW.process_name::text || path, ' -> ')
            USING ERRCODE = 'check_violation', CONSTRAINT = 'process_dependency_no_circle',
                HINT = 'Delete one of these dependencies or set its is_active to false.';
    END IF;
    RETURN NULL;
END
$$;

COMMENT ON FUNCTION control.refuse_circle IS
    'Refuses, at commit, a circle of active dependencies and names it.';

-- Arguments: the columns of the table's key.
CREATE FUNCTION control.log_change() RETURNS trigger
LANGUAGE plpgsql AS $$
DECLARE
    row_before jsonb := CASE WHEN TG_OP IN ('UPDATE', 'DELETE') THEN to_jsonb(OLD) END;
    row_after jsonb := CASE WHEN TG_OP IN ('UPDATE', 'INSERT') THEN to_jsonb(NEW) END;
    row_key jsonb := '{}';
    key_column text;
BEGIN
    IF TG_LEVEL = 'ROW' THEN
        FOREACH key_column IN ARRAY TG_ARGV LOOP
            row_key := row_key || jsonb_build_object(
                key_column, coalesce(row_after, row_before) -> key_column
            );
        END LOOP;
    END IF;
    INSERT INTO control.change_log (table_name, operation, row_key, before, after)
    VALUES (TG_TABLE_NAME, lower(TG_OP), row_key, row_before, row_after);
    RETURN NULL;
END
$$;

COMMENT ON FUNCTION control.log_change IS 'Writes a row''s change, or a TRUNCATE, to change_log.';

CREATE TRIGGER touch_updated_at BEFORE UPDATE ON control.stream
    FOR EACH ROW EXECUTE FUNCTION control.touch_updated_at();
CREATE TRIGGER touch_updated_at BEFORE UPDATE ON control.process_group
    FOR EACH ROW EXECUTE FUNCTION control.touch_updated_at();
CREATE TRIGGER touch_updated_at BEFORE UPDATE ON control.process
    FOR EACH ROW EXECUTE FUNCTION control.touch_updated_at();
CREATE TRIGGER touch_updated_at BEFORE UPDATE ON control.process_dependency
    FOR EACH ROW EXECUTE FUNCTION control.touch_updated_at();
CREATE TRIGGER touch_updated_at BEFORE UPDATE ON control.source_file
    FOR EACH ROW EXECUTE FUNCTION control.touch_updated_at();
CREATE TRIGGER touch_updated_at BEFORE UPDATE ON control.schedule
    FOR EACH ROW EXECUTE FUNCTION control.touch_updated_at();

CREATE TRIGGER log_change AFTER INSERT OR UPDATE OR DELETE ON control.stream
    FOR EACH ROW EXECUTE FUNCTION control.log_change('stream_name');
CREATE TRIGGER log_change AFTER INSERT OR UPDATE OR DELETE ON control.process_group
    FOR EACH ROW EXECUTE FUNCTION control.log_change('group_name');
CREATE TRIGGER log_change AFTER INSERT OR UPDATE OR DELETE ON control.process
    FOR EACH ROW EXECUTE FUNCTION control.log_change('process_name');
CREATE TRIGGER log_change AFTER INSERT OR UPDATE OR DELETE ON control.process_dependency
    FOR EACH ROW EXECUTE FUNCTION control.log_change('process_name', 'depends_on');
CREATE TRIGGER log_change AFTER INSERT OR UPDATE OR DELETE ON control.source_file
    FOR EACH ROW EXECUTE FUNCTION control.log_change('source_file');
CREATE TRIGGER log_change AFTER INSERT OR UPDATE OR DELETE ON control.schedule
    FOR EACH ROW EXECUTE FUNCTION control.log_change('stream_name');

CREATE TRIGGER log_truncate AFTER TRUNCATE ON control.stream
    FOR EACH STATEMENT EXECUTE FUNCTION control.log_change();
CREATE TRIGGER log_truncate AFTER TRUNCATE ON control.process_group
    FOR EACH STATEMENT EXECUTE FUNCTION control.log_change();
CREATE TRIGGER log_truncate AFTER TRUNCATE ON control.process
    FOR EACH STATEMENT EXECUTE FUNCTION control.log_change();
CREATE TRIGGER log_truncate AFTER TRUNCATE ON control.process_dependency
    FOR EACH STATEMENT EXECUTE FUNCTION control.log_change();
CREATE TRIGGER log_truncate AFTER TRUNCATE ON control.source_file
    FOR EACH STATEMENT EXECUTE FUNCTION control.log_change();
CREATE TRIGGER log_truncate AFTER TRUNCATE ON control.schedule
    FOR EACH STATEMENT EXECUTE FUNCTION control.log_change();

CREATE TRIGGER require_time_zone BEFORE INSERT OR UPDATE OF time_zone ON control.stream
    FOR EACH ROW EXECUTE FUNCTION control.require_time_zone();

CREATE CONSTRAINT TRIGGER process_dependency_no_circle
    AFTER INSERT OR UPDATE ON control.process_dependency
    DEFERRABLE INITIALLY DEFERRED
    FOR EACH ROW EXECUTE FUNCTION control.refuse_circle();


-- What a notebook's kernel may do -----------------------------------------------------------
-- Each function runs with the owner's rights. The token is the attempt's secret; a lock in
-- share mode keeps the fence where it is until the caller's transaction has ended.

CREATE FUNCTION control.attempt_of(token text) RETURNS control.process_run
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    run control.process_run;
BEGIN
    SELECT * INTO run FROM control.process_run
    WHERE token_sha256 = encode(sha256(convert_to(token, 'UTF8')), 'hex') AND state = 'running'
    FOR SHARE;
    IF NOT FOUND THEN
        RAISE EXCEPTION 'this attempt no longer holds its process run'
            USING ERRCODE = 'MR001',
                HINT = 'Another attempt has taken it over or it has ended; nothing was written.';
    END IF;
    RETURN run;
END
$$;

COMMENT ON FUNCTION control.attempt_of IS
    'The process run that a token holds, locked FOR SHARE; MR001 where it holds none.';

CREATE FUNCTION control.kernel_assert_fence(token text) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM control.attempt_of(token);
END
$$;

COMMENT ON FUNCTION control.kernel_assert_fence IS
    'Called in the transaction of every effect: MR001 unless the attempt still holds its run.';

CREATE FUNCTION control.kernel_run(token text) RETURNS jsonb
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    run control.process_run := control.attempt_of(token);
    entry jsonb;
    process jsonb;
    answer jsonb;
BEGIN
    SELECT content -> 'streams' -> run.stream_name INTO entry
    FROM control.snapshot WHERE control_version = run.control_version;
    SELECT item INTO process FROM jsonb_array_elements(entry -> 'processes') AS item
    WHERE item ->> 'process_name' = run.process_name;
    SELECT jsonb_build_object(
        'run_id', log.run_id, 'process_name', run.process_name, 'stream_name', run.stream_name,
        'data_date', run.data_date, 'generation', run.generation, 'attempt', log.attempt,
        'fence', run.fence, 'control_version', run.control_version
    ) INTO answer
    FROM control.run_log AS log
    WHERE log.process_name = run.process_name AND log.data_date = run.data_date
        AND log.generation = run.generation AND log.fence = run.fence;
    RETURN answer || jsonb_build_object(
        'question', entry -> 'stream' -> 'question',
        'embed_model', process -> 'embed_model',
        'gen_model', process -> 'gen_model',
        'collection', process -> 'collection',
        'llm_priority', process -> 'llm_priority',
        'parameters', coalesce(entry -> 'stream' -> 'parameters', '{}')
            || coalesce(process -> 'parameters', '{}'),
        'source_file', (
            SELECT item FROM jsonb_array_elements(entry -> 'source_files') AS item
            WHERE item ->> 'source_file' = process ->> 'source_file'
        )
    );
END
$$;

COMMENT ON FUNCTION control.kernel_run IS
    'The attempt''s own run as its snapshot has it, as one object.';

CREATE FUNCTION control.kernel_progress(
    token text, source_rows bigint, target_rows bigint, tokens_in bigint, tokens_out bigint,
    llm_seconds double precision, message text
) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    run control.process_run := control.attempt_of(token);
BEGIN
    UPDATE control.run_log AS log SET
        source_rows = coalesce(kernel_progress.source_rows, log.source_rows),
        target_rows = coalesce(kernel_progress.target_rows, log.target_rows),
        tokens_in = coalesce(kernel_progress.tokens_in, log.tokens_in),
        tokens_out = coalesce(kernel_progress.tokens_out, log.tokens_out),
        llm_seconds = coalesce(kernel_progress.llm_seconds, log.llm_seconds),
        message = coalesce(kernel_progress.message, log.message)
    WHERE log.process_name = run.process_name AND log.data_date = run.data_date
        AND log.generation = run.generation AND log.fence = run.fence;
END
$$;

COMMENT ON FUNCTION control.kernel_progress IS
    'Writes the attempt''s counts so far; NULL leaves a column as it is.';

CREATE FUNCTION control.kernel_finish(token text, source_rows bigint, target_rows bigint)
RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM control.kernel_progress(token, source_rows, target_rows, NULL, NULL, NULL, NULL);
END
$$;

COMMENT ON FUNCTION control.kernel_finish IS 'Records the notebook''s own counts of rows.';


-- Rights ------------------------------------------------------------------------------------

REVOKE EXECUTE ON ALL FUNCTIONS IN SCHEMA control FROM PUBLIC;
GRANT USAGE ON SCHEMA control TO millrace_kernel, millrace_author;
GRANT EXECUTE ON FUNCTION
    control.kernel_run, control.kernel_progress, control.kernel_finish, control.kernel_assert_fence
TO millrace_kernel;
GRANT SELECT ON ALL TABLES IN SCHEMA control TO millrace_author;


-- What every table and column means ---------------------------------------------------------

COMMENT ON TABLE control.stream IS 'A named workflow with an owner and a schedule; one stream DAG.';
COMMENT ON COLUMN control.stream.stream_name IS 'Its name; the DAG is stream__<name>.';
COMMENT ON COLUMN control.stream.description IS 'What it is for; shown on the DAG''s page.';
COMMENT ON COLUMN control.stream.question IS 'The question its notebooks put to the model; reaches a notebook that declares it.';
COMMENT ON COLUMN control.stream.owner IS 'Who answers for it; the DAG''s owner.';
COMMENT ON COLUMN control.stream.parameters IS 'JSON object of parameters for all its processes; a process''s own ones win.';
COMMENT ON COLUMN control.stream.time_zone IS 'Zone of its schedule and of its data date, such as Europe/Berlin.';
COMMENT ON COLUMN control.stream.is_live IS 'True: a run works on the tick''s own day; false: on data_date.';
COMMENT ON COLUMN control.stream.data_date IS 'The pinned day, used when is_live is false.';
COMMENT ON COLUMN control.stream.max_active_runs IS 'How many of its DAG runs may be active at once.';
COMMENT ON COLUMN control.stream.catchup IS 'True: ticks missed since the schedule was created are run.';
COMMENT ON COLUMN control.stream.notify IS 'Name of the notification target (setting MILLRACE_NOTIFY_<NAME>) told of failure and recovery.';
COMMENT ON COLUMN control.stream.is_active IS 'False: no DAG.';
COMMENT ON COLUMN control.stream.created_at IS 'When the row was inserted.';
COMMENT ON COLUMN control.stream.updated_at IS 'When the row last changed.';

COMMENT ON TABLE control.process_group IS 'A process group of a stream; groups run in order of priority.';
COMMENT ON COLUMN control.process_group.group_name IS 'Its name, unique over all streams.';
COMMENT ON COLUMN control.process_group.stream_name IS 'The stream it belongs to.';
COMMENT ON COLUMN control.process_group.priority IS 'Lowest number first; equal ones side by side.';
COMMENT ON COLUMN control.process_group.on_failure IS 'stop: later groups do not start when a process failed; continue: they do, and the stream still fails at its end.';
COMMENT ON COLUMN control.process_group.is_active IS 'False: the group and its processes are left out.';
COMMENT ON COLUMN control.process_group.updated_at IS 'When the row last changed.';

COMMENT ON TABLE control.process IS 'One notebook with parameters, in exactly one group; one process DAG.';
COMMENT ON COLUMN control.process.process_name IS 'Its name; the DAG is process__<name>.';
COMMENT ON COLUMN control.process.group_name IS 'The group it belongs to.';
COMMENT ON COLUMN control.process.priority IS 'Order within the group, lowest number first; equal ones side by side.';
COMMENT ON COLUMN control.process.notebook_path IS 'Path below the notebooks folder; no scheme, no .., no braces.';
COMMENT ON COLUMN control.process.parameters IS 'JSON object of parameters the notebook declares.';
COMMENT ON COLUMN control.process.source_file IS 'How its source documents are read and chunked.';
COMMENT ON COLUMN control.process.embed_model IS 'Embedding model; empty: the default of the settings.';
COMMENT ON COLUMN control.process.gen_model IS 'Generation model; empty: the default of the settings.';
COMMENT ON COLUMN control.process.collection IS 'The collection it reads or fills.';
COMMENT ON COLUMN control.process.retries IS 'How many more attempts follow a failed one.';
COMMENT ON COLUMN control.process.retry_delay_s IS 'Seconds between attempts.';
COMMENT ON COLUMN control.process.timeout_s IS 'Seconds after which an attempt is ended as failed.';
COMMENT ON COLUMN control.process.memory_limit_mb IS 'Memory of the notebook''s kernel in MiB; empty: no limit.';
COMMENT ON COLUMN control.process.pool IS 'Airflow pool whose slots it takes.';
COMMENT ON COLUMN control.process.llm_priority IS 'Class of its model calls at the gateway: api, web, async or batch.';
COMMENT ON COLUMN control.process.is_active IS 'False: left out; as a dependency it is skipped.';
COMMENT ON COLUMN control.process.updated_at IS 'When the row last changed.';

COMMENT ON TABLE control.process_dependency IS 'Process -> process it needs first, in any stream; never itself, never in a circle.';
COMMENT ON COLUMN control.process_dependency.process_name IS 'The process that waits.';
COMMENT ON COLUMN control.process_dependency.depends_on IS 'The process it needs first, for the same data date.';
COMMENT ON COLUMN control.process_dependency.is_active IS 'False: the dependency is skipped.';
COMMENT ON COLUMN control.process_dependency.updated_at IS 'When the row last changed.';

COMMENT ON TABLE control.source_file IS 'How a kind of source document is read and chunked.';
COMMENT ON COLUMN control.source_file.source_file IS 'Its name.';
COMMENT ON COLUMN control.source_file.file_type IS 'pdf, csv, txt, md, html, docx, json, jsonl or parquet.';
COMMENT ON COLUMN control.source_file.delimiter IS 'Column separator of a csv file; empty: a comma.';
COMMENT ON COLUMN control.source_file.chunk_size IS 'Longest chunk, in tokens.';
COMMENT ON COLUMN control.source_file.chunk_overlap IS 'Tokens that neighbouring chunks share.';
COMMENT ON COLUMN control.source_file.lake_prefix IS 'Where its documents lie in the lake.';
COMMENT ON COLUMN control.source_file.updated_at IS 'When the row last changed.';

COMMENT ON TABLE control.schedule IS 'When a stream runs: one cron line, in the stream''s time zone.';
COMMENT ON COLUMN control.schedule.stream_name IS 'The stream.';
COMMENT ON COLUMN control.schedule.minute IS 'Cron field 0-59.';
COMMENT ON COLUMN control.schedule.hour IS 'Cron field 0-23.';
COMMENT ON COLUMN control.schedule.day_of_month IS 'Cron field 1-31.';
COMMENT ON COLUMN control.schedule.month IS 'Cron field 1-12 or jan-dec.';
COMMENT ON COLUMN control.schedule.day_of_week IS 'Cron field 0-7 (0 and 7 are Sunday) or sun-sat.';
COMMENT ON COLUMN control.schedule.is_active IS 'False: the stream runs only when triggered.';
COMMENT ON COLUMN control.schedule.created_at IS 'When the row was inserted; no tick before it is run.';
COMMENT ON COLUMN control.schedule.updated_at IS 'When the row last changed.';

COMMENT ON TABLE control.snapshot IS 'The control rows as they were, one row for every control version.';
COMMENT ON COLUMN control.snapshot.control_version IS 'First 16 hex digits of the SHA-256 of the content.';
COMMENT ON COLUMN control.snapshot.taken_at IS 'When it last became the current one.';
COMMENT ON COLUMN control.snapshot.content IS 'The streams with their rows and faults.';
COMMENT ON COLUMN control.snapshot.format IS 'Version of the shape of content.';

COMMENT ON TABLE control.change_log IS 'Who changed which control row, when, from what to what.';
COMMENT ON COLUMN control.change_log.change_id IS 'Running number.';
COMMENT ON COLUMN control.change_log.changed_at IS 'When.';
COMMENT ON COLUMN control.change_log.changed_by IS 'Database role of the session.';
COMMENT ON COLUMN control.change_log.table_name IS 'Table of schema control.';
COMMENT ON COLUMN control.change_log.operation IS 'insert, update, delete or truncate.';
COMMENT ON COLUMN control.change_log.row_key IS 'The row''s key; empty for truncate.';
COMMENT ON COLUMN control.change_log.before IS 'The row before; empty for insert.';
COMMENT ON COLUMN control.change_log.after IS 'The row after; empty for delete.';

COMMENT ON TABLE control.stream_run IS 'One run of a stream for a data date and generation.';
COMMENT ON COLUMN control.stream_run.stream_name IS 'The stream.';
COMMENT ON COLUMN control.stream_run.data_date IS 'The day whose data it works on.';
COMMENT ON COLUMN control.stream_run.generation IS '1, 2, ...: each scheduled tick and each rerun opens the next.';
COMMENT ON COLUMN control.stream_run.control_version IS 'The snapshot it uses now.';
COMMENT ON COLUMN control.stream_run.state IS 'running, success or failed.';
COMMENT ON COLUMN control.stream_run.opened_at IS 'When its first DAG run began.';
COMMENT ON COLUMN control.stream_run.ended_at IS 'When it ended; empty while it runs.';
COMMENT ON COLUMN control.stream_run.message IS 'How it ended, in words.';

COMMENT ON TABLE control.stream_run_member IS 'The DAG runs that opened or joined a stream run.';
COMMENT ON COLUMN control.stream_run_member.stream_name IS 'The stream.';
COMMENT ON COLUMN control.stream_run_member.dag_run_id IS 'Id of the stream''s DAG run.';
COMMENT ON COLUMN control.stream_run_member.clear_number IS 'How often that DAG run had been cleared.';
COMMENT ON COLUMN control.stream_run_member.data_date IS 'Data date of the stream run.';
COMMENT ON COLUMN control.stream_run_member.generation IS 'Generation of the stream run.';
COMMENT ON COLUMN control.stream_run_member.control_version IS 'The snapshot this DAG run uses.';
COMMENT ON COLUMN control.stream_run_member.joined_at IS 'When it opened or joined.';

COMMENT ON TABLE control.process_run IS 'The arbiter: what happens once for a process, data date and generation.';
COMMENT ON COLUMN control.process_run.process_name IS 'The process.';
COMMENT ON COLUMN control.process_run.data_date IS 'The day whose data it works on.';
COMMENT ON COLUMN control.process_run.generation IS 'The stream run''s generation.';
COMMENT ON COLUMN control.process_run.stream_name IS 'The stream it belonged to when it was requested.';
COMMENT ON COLUMN control.process_run.state IS 'queued, running, retrying, success, failed or skipped.';
COMMENT ON COLUMN control.process_run.fence IS 'Goes up with every attempt and every mark; only its holder may write.';
COMMENT ON COLUMN control.process_run.control_version IS 'The snapshot that the current attempt uses.';
COMMENT ON COLUMN control.process_run.dag_run_id IS 'The DAG run that executes it.';
COMMENT ON COLUMN control.process_run.requested_by IS 'Who started or restarted it: <DAG run id>#<clear number>.';
COMMENT ON COLUMN control.process_run.clear_number IS 'How often its DAG run had been cleared at the last attempt.';
COMMENT ON COLUMN control.process_run.queued_at IS 'When it was last started or restarted.';
COMMENT ON COLUMN control.process_run.started_at IS 'When the last attempt began.';
COMMENT ON COLUMN control.process_run.heartbeat_at IS 'Last sign of life of the attempt.';
COMMENT ON COLUMN control.process_run.ended_at IS 'When it ended; empty while somebody works on it.';
COMMENT ON COLUMN control.process_run.message IS 'How it ended, in words.';
COMMENT ON COLUMN control.process_run.token_sha256 IS 'Digest of the attempt''s secret; empty when no attempt is open.';

COMMENT ON TABLE control.run_log IS 'One row for every attempt at a process run.';
COMMENT ON COLUMN control.run_log.run_id IS '<process>__<data date>__g<generation>.';
COMMENT ON COLUMN control.run_log.attempt IS '1, 2, ... within the process run.';
COMMENT ON COLUMN control.run_log.process_name IS 'The process.';
COMMENT ON COLUMN control.run_log.stream_name IS 'The stream.';
COMMENT ON COLUMN control.run_log.data_date IS 'The day whose data it works on.';
COMMENT ON COLUMN control.run_log.generation IS 'The stream run''s generation.';
COMMENT ON COLUMN control.run_log.status IS 'running, success, failed, crashed or skipped.';
COMMENT ON COLUMN control.run_log.started_at IS 'When the attempt began.';
COMMENT ON COLUMN control.run_log.ended_at IS 'When it ended.';
COMMENT ON COLUMN control.run_log.source_rows IS 'Rows in, as the notebook counted them.';
COMMENT ON COLUMN control.run_log.target_rows IS 'Rows out, as the notebook counted them.';
COMMENT ON COLUMN control.run_log.tokens_in IS 'Tokens sent to the model.';
COMMENT ON COLUMN control.run_log.tokens_out IS 'Tokens the model answered with.';
COMMENT ON COLUMN control.run_log.llm_seconds IS 'Seconds spent in model calls, summed over calls.';
COMMENT ON COLUMN control.run_log.message IS 'Progress while it runs; how it ended, afterwards.';
COMMENT ON COLUMN control.run_log.control_version IS 'The snapshot it used.';
COMMENT ON COLUMN control.run_log.notebook_sha256 IS 'Digest of the notebook it executed.';
COMMENT ON COLUMN control.run_log.executed_notebook_uri IS 'Where the executed notebook lies.';
COMMENT ON COLUMN control.run_log.dag_run_id IS 'The DAG run that made the attempt.';
COMMENT ON COLUMN control.run_log.fence IS 'The fence the attempt held.';

COMMENT ON TABLE control.schema_version IS 'The migrations this database has had.';
COMMENT ON COLUMN control.schema_version.version IS 'Number of the migration.';
COMMENT ON COLUMN control.schema_version.name IS 'Its file name.';
COMMENT ON COLUMN control.schema_version.applied_at IS 'When it was applied.';
