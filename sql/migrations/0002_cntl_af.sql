-- The compatibility schema: the names, columns and meanings that existing scripts insert into.
-- Run as the role `millrace`, after schema.sql. Every view reads and writes schema control.

CREATE SCHEMA cntl_af;

COMMENT ON SCHEMA cntl_af IS
    'The control tables under the names existing scripts use; docs/reference/compatibility.md.';

CREATE FUNCTION cntl_af.is_active(act_f integer) RETURNS boolean
LANGUAGE plpgsql IMMUTABLE AS $$
BEGIN
    IF coalesce(act_f, 1) NOT IN (0, 1) THEN
        RAISE EXCEPTION 'act_f is %; it must be 1 (active) or 0 (inactive)', act_f
            USING ERRCODE = 'check_violation';
    END IF;
    RETURN coalesce(act_f, 1) = 1;
END
$$;

COMMENT ON FUNCTION cntl_af.is_active IS 'act_f as a boolean; NULL is active.';

-- Not one SQL expression: the planner would cast a constant text before the CASE had judged it.
CREATE FUNCTION cntl_af.to_parameters(nb_parm text) RETURNS jsonb
LANGUAGE plpgsql IMMUTABLE AS $$
BEGIN
    IF nb_parm IS NULL THEN
        RETURN '{}';
    ELSIF nb_parm IS JSON OBJECT THEN
        RETURN nb_parm::jsonb;
    END IF;
    RETURN jsonb_build_object('nb_parm', nb_parm);
END
$$;

COMMENT ON FUNCTION cntl_af.to_parameters IS
    'A JSON object is the parameters; any other text becomes the one parameter nb_parm.';

CREATE FUNCTION cntl_af.to_nb_parm(parameters jsonb) RETURNS text
LANGUAGE sql IMMUTABLE AS $$
    SELECT CASE
        WHEN parameters = '{}' THEN NULL
        WHEN parameters - 'nb_parm' = '{}' AND jsonb_typeof(parameters -> 'nb_parm') = 'string'
            THEN parameters ->> 'nb_parm'
        ELSE parameters::text
    END
$$;

COMMENT ON FUNCTION cntl_af.to_nb_parm IS 'Parameters as the text they were inserted as.';


-- Streams -----------------------------------------------------------------------------------

CREATE VIEW cntl_af.cntl_cfg_strem AS
SELECT stream_name::text AS strem_nm, question, data_date AS data_dt, is_live::integer AS go_live,
    owner AS strem_owner, is_active::integer AS act_f, updated_at AS upt_dt
FROM control.stream;

CREATE FUNCTION cntl_af.write_strem() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'DELETE' THEN
        DELETE FROM control.stream WHERE stream_name = OLD.strem_nm;
        RETURN OLD;
    END IF;
    IF coalesce(NEW.go_live, 1) NOT IN (0, 1) THEN
        RAISE EXCEPTION 'stream %: go_live is %; it must be 1 (live) or 0 (data_dt)',
            NEW.strem_nm, NEW.go_live USING ERRCODE = 'check_violation';
    END IF;
    IF TG_OP = 'INSERT' THEN
        INSERT INTO control.stream (
            stream_name, question, data_date, is_live, owner, is_active, updated_at
        ) VALUES (
            NEW.strem_nm, coalesce(NEW.question, ''), NEW.data_dt, coalesce(NEW.go_live, 1) = 1,
            coalesce(nullif(NEW.strem_owner, ''), 'millrace'), cntl_af.is_active(NEW.act_f),
            coalesce(NEW.upt_dt, now())
        );
    ELSE
        UPDATE control.stream SET
            stream_name = NEW.strem_nm, question = coalesce(NEW.question, ''),
            data_date = NEW.data_dt, is_live = coalesce(NEW.go_live, 1) = 1,
            owner = coalesce(nullif(NEW.strem_owner, ''), 'millrace'),
            is_active = cntl_af.is_active(NEW.act_f), updated_at = coalesce(NEW.upt_dt, now())
        WHERE stream_name = OLD.strem_nm;
    END IF;
    RETURN NEW;
END
$$;

CREATE TRIGGER write INSTEAD OF INSERT OR UPDATE OR DELETE ON cntl_af.cntl_cfg_strem
    FOR EACH ROW EXECUTE FUNCTION cntl_af.write_strem();


-- Process groups ----------------------------------------------------------------------------

CREATE VIEW cntl_af.cntl_cfg_prcs_grp AS
SELECT group_name::text AS prcs_grp, stream_name::text AS strem_nm, priority AS prir,
    is_active::integer AS act_f, updated_at AS upt_dt
FROM control.process_group;

CREATE FUNCTION cntl_af.write_prcs_grp() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'DELETE' THEN
        DELETE FROM control.process_group WHERE group_name = OLD.prcs_grp;
        RETURN OLD;
    END IF;
    IF TG_OP = 'INSERT' THEN
        INSERT INTO control.process_group (
            group_name, stream_name, priority, is_active, updated_at
        ) VALUES (
            NEW.prcs_grp, NEW.strem_nm, coalesce(NEW.prir, 0), cntl_af.is_active(NEW.act_f),
            coalesce(NEW.upt_dt, now())
        );
    ELSE
        UPDATE control.process_group SET
            group_name = NEW.prcs_grp, stream_name = NEW.strem_nm, priority = coalesce(NEW.prir, 0),
            is_active = cntl_af.is_active(NEW.act_f), updated_at = coalesce(NEW.upt_dt, now())
        WHERE group_name = OLD.prcs_grp;
    END IF;
    RETURN NEW;
END
$$;

CREATE TRIGGER write INSTEAD OF INSERT OR UPDATE OR DELETE ON cntl_af.cntl_cfg_prcs_grp
    FOR EACH ROW EXECUTE FUNCTION cntl_af.write_prcs_grp();


-- Processes ---------------------------------------------------------------------------------

CREATE VIEW cntl_af.cntl_cfg_prcs AS
SELECT process_name::text AS prcs_nm, group_name::text AS prcs_grp, priority AS prir,
    source_file::text AS sys_file, embed_model, gen_model, collection,
    notebook_path AS nb_path_nm, cntl_af.to_nb_parm(parameters) AS nb_parm,
    is_active::integer AS act_f, updated_at AS upt_dt
FROM control.process;

CREATE FUNCTION cntl_af.write_prcs() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'DELETE' THEN
        DELETE FROM control.process WHERE process_name = OLD.prcs_nm;
        RETURN OLD;
    END IF;
    IF TG_OP = 'INSERT' THEN
        INSERT INTO control.process (
            process_name, group_name, priority, source_file, embed_model, gen_model, collection,
            notebook_path, parameters, is_active, updated_at
        ) VALUES (
            NEW.prcs_nm, NEW.prcs_grp, coalesce(NEW.prir, 0), nullif(NEW.sys_file, ''),
            nullif(NEW.embed_model, ''), nullif(NEW.gen_model, ''), nullif(NEW.collection, ''),
            NEW.nb_path_nm, cntl_af.to_parameters(NEW.nb_parm), cntl_af.is_active(NEW.act_f),
            coalesce(NEW.upt_dt, now())
        );
    ELSE
        UPDATE control.process SET
            process_name = NEW.prcs_nm, group_name = NEW.prcs_grp, priority = coalesce(NEW.prir, 0),
            source_file = nullif(NEW.sys_file, ''), embed_model = nullif(NEW.embed_model, ''),
            gen_model = nullif(NEW.gen_model, ''), collection = nullif(NEW.collection, ''),
            notebook_path = NEW.nb_path_nm, is_active = cntl_af.is_active(NEW.act_f),
            parameters = CASE
                WHEN NEW.nb_parm IS DISTINCT FROM OLD.nb_parm
                    THEN cntl_af.to_parameters(NEW.nb_parm)
                ELSE parameters
            END,
            updated_at = coalesce(NEW.upt_dt, now())
        WHERE process_name = OLD.prcs_nm;
    END IF;
    RETURN NEW;
END
$$;

CREATE TRIGGER write INSTEAD OF INSERT OR UPDATE OR DELETE ON cntl_af.cntl_cfg_prcs
    FOR EACH ROW EXECUTE FUNCTION cntl_af.write_prcs();


-- Dependencies ------------------------------------------------------------------------------

CREATE VIEW cntl_af.cntl_cfg_prcs_depn AS
SELECT process_name::text AS prcs_nm, depends_on::text AS dpnd_prcs_nm,
    is_active::integer AS act_f, updated_at AS upt_dt
FROM control.process_dependency;

CREATE FUNCTION cntl_af.write_prcs_depn() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'DELETE' THEN
        DELETE FROM control.process_dependency
        WHERE process_name = OLD.prcs_nm AND depends_on = OLD.dpnd_prcs_nm;
        RETURN OLD;
    END IF;
    IF TG_OP = 'INSERT' THEN
        INSERT INTO control.process_dependency (process_name, depends_on, is_active, updated_at)
        VALUES (
            NEW.prcs_nm, NEW.dpnd_prcs_nm, cntl_af.is_active(NEW.act_f), coalesce(NEW.upt_dt, now())
        );
    ELSE
        UPDATE control.process_dependency SET
            process_name = NEW.prcs_nm, depends_on = NEW.dpnd_prcs_nm,
            is_active = cntl_af.is_active(NEW.act_f), updated_at = coalesce(NEW.upt_dt, now())
        WHERE process_name = OLD.prcs_nm AND depends_on = OLD.dpnd_prcs_nm;
    END IF;
    RETURN NEW;
END
$$;

CREATE TRIGGER write INSTEAD OF INSERT OR UPDATE OR DELETE ON cntl_af.cntl_cfg_prcs_depn
    FOR EACH ROW EXECUTE FUNCTION cntl_af.write_prcs_depn();


-- Source files ------------------------------------------------------------------------------

CREATE VIEW cntl_af.cntl_cfg_sys_file AS
SELECT source_file::text AS sys_nm, file_type, delimiter AS dlm, chunk_size,
    chunk_overlap AS overlap, updated_at AS upt_dt
FROM control.source_file;

CREATE VIEW cntl_af.cntl_sys_fle AS
SELECT sys_nm, file_type, dlm, chunk_size, overlap, upt_dt FROM cntl_af.cntl_cfg_sys_file;

-- A chunk size below the default overlap gets an overlap that fits it.
CREATE FUNCTION cntl_af.write_sys_file() RETURNS trigger
LANGUAGE plpgsql AS $$
DECLARE
    size integer;
    overlap integer;
    kind text;
BEGIN
    IF TG_OP = 'DELETE' THEN
        DELETE FROM control.source_file WHERE source_file = OLD.sys_nm;
        RETURN OLD;
    END IF;
    size := coalesce(NEW.chunk_size, 256);
    overlap := coalesce(NEW.overlap, least(32, size / 8));
    kind := ltrim(lower(NEW.file_type), '.');
    IF TG_OP = 'INSERT' THEN
        INSERT INTO control.source_file (
            source_file, file_type, delimiter, chunk_size, chunk_overlap, updated_at
        ) VALUES (
            NEW.sys_nm, kind, nullif(NEW.dlm, ''), size, overlap, coalesce(NEW.upt_dt, now())
        );
    ELSE
        UPDATE control.source_file SET
            source_file = NEW.sys_nm, file_type = kind, delimiter = nullif(NEW.dlm, ''),
            chunk_size = size, chunk_overlap = overlap, updated_at = coalesce(NEW.upt_dt, now())
        WHERE source_file = OLD.sys_nm;
    END IF;
    RETURN NEW;
END
$$;

CREATE TRIGGER write INSTEAD OF INSERT OR UPDATE OR DELETE ON cntl_af.cntl_cfg_sys_file
    FOR EACH ROW EXECUTE FUNCTION cntl_af.write_sys_file();
CREATE TRIGGER write INSTEAD OF INSERT OR UPDATE OR DELETE ON cntl_af.cntl_sys_fle
    FOR EACH ROW EXECUTE FUNCTION cntl_af.write_sys_file();


-- Schedules ---------------------------------------------------------------------------------

CREATE VIEW cntl_af.cntl_cfg_schedule AS
SELECT stream_name::text AS strem_nm, minute AS minutes, hour AS hours, day_of_month AS day_month,
    month AS months, day_of_week AS day_week, updated_at AS upt_dt
FROM control.schedule;

CREATE FUNCTION cntl_af.write_schedule() RETURNS trigger
LANGUAGE plpgsql AS $$
DECLARE
    field control.schedule;
BEGIN
    IF TG_OP = 'DELETE' THEN
        DELETE FROM control.schedule WHERE stream_name = OLD.strem_nm;
        RETURN OLD;
    END IF;
    field.minute := coalesce(nullif(btrim(NEW.minutes), ''), '0');
    field.hour := coalesce(nullif(btrim(NEW.hours), ''), '0');
    field.day_of_month := coalesce(nullif(btrim(NEW.day_month), ''), '*');
    field.month := coalesce(nullif(btrim(NEW.months), ''), '*');
    field.day_of_week := coalesce(nullif(btrim(NEW.day_week), ''), '*');
    IF TG_OP = 'INSERT' THEN
        INSERT INTO control.schedule (
            stream_name, minute, hour, day_of_month, month, day_of_week, updated_at
        ) VALUES (
            NEW.strem_nm, field.minute, field.hour, field.day_of_month, field.month,
            field.day_of_week, coalesce(NEW.upt_dt, now())
        );
    ELSE
        UPDATE control.schedule SET
            stream_name = NEW.strem_nm, minute = field.minute, hour = field.hour,
            day_of_month = field.day_of_month, month = field.month,
            day_of_week = field.day_of_week, updated_at = coalesce(NEW.upt_dt, now())
        WHERE stream_name = OLD.strem_nm;
    END IF;
    RETURN NEW;
END
$$;

CREATE TRIGGER write INSTEAD OF INSERT OR UPDATE OR DELETE ON cntl_af.cntl_cfg_schedule
    FOR EACH ROW EXECUTE FUNCTION cntl_af.write_schedule();


-- The log, for reading ----------------------------------------------------------------------

CREATE VIEW cntl_af.cntl_cfg_log AS
SELECT process_name::text AS prcs_nm, data_date AS data_dt, started_at AS start_dt,
    ended_at AS end_dt,
    CASE WHEN status IN ('success', 'skipped') THEN 0 WHEN status = 'running' THEN 1 ELSE 99 END
        AS status,
    message, source_rows AS source_row, target_rows AS target_row
FROM control.run_log
UNION ALL
SELECT process_name::text, data_date, queued_at, NULL, 1, message, NULL, NULL
FROM control.process_run
WHERE state IN ('queued', 'retrying');

CREATE FUNCTION cntl_af.refuse_write() RETURNS trigger
LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'cntl_cfg_log is for reading: the runs write it'
        USING ERRCODE = 'object_not_in_prerequisite_state';
END
$$;

CREATE TRIGGER write INSTEAD OF INSERT OR UPDATE OR DELETE ON cntl_af.cntl_cfg_log
    FOR EACH ROW EXECUTE FUNCTION cntl_af.refuse_write();

REVOKE EXECUTE ON ALL FUNCTIONS IN SCHEMA cntl_af FROM PUBLIC;


-- What every view and column means ----------------------------------------------------------

COMMENT ON VIEW cntl_af.cntl_cfg_strem IS 'Streams (control.stream).';
COMMENT ON COLUMN cntl_af.cntl_cfg_strem.strem_nm IS 'stream_name';
COMMENT ON COLUMN cntl_af.cntl_cfg_strem.question IS 'question; NULL becomes empty.';
COMMENT ON COLUMN cntl_af.cntl_cfg_strem.data_dt IS 'data_date';
COMMENT ON COLUMN cntl_af.cntl_cfg_strem.go_live IS 'is_live: 1 or NULL live, 0 data_dt.';
COMMENT ON COLUMN cntl_af.cntl_cfg_strem.strem_owner IS 'owner; empty: millrace.';
COMMENT ON COLUMN cntl_af.cntl_cfg_strem.act_f IS 'is_active: 1 or NULL active, 0 not.';
COMMENT ON COLUMN cntl_af.cntl_cfg_strem.upt_dt IS 'updated_at; empty: now.';

COMMENT ON VIEW cntl_af.cntl_cfg_prcs_grp IS 'Process groups (control.process_group).';
COMMENT ON COLUMN cntl_af.cntl_cfg_prcs_grp.prcs_grp IS 'group_name';
COMMENT ON COLUMN cntl_af.cntl_cfg_prcs_grp.strem_nm IS 'stream_name';
COMMENT ON COLUMN cntl_af.cntl_cfg_prcs_grp.prir IS 'priority; NULL: 0.';
COMMENT ON COLUMN cntl_af.cntl_cfg_prcs_grp.act_f IS 'is_active: 1 or NULL active, 0 not.';
COMMENT ON COLUMN cntl_af.cntl_cfg_prcs_grp.upt_dt IS 'updated_at; empty: now.';

COMMENT ON VIEW cntl_af.cntl_cfg_prcs IS 'Processes (control.process).';
COMMENT ON COLUMN cntl_af.cntl_cfg_prcs.prcs_nm IS 'process_name';
COMMENT ON COLUMN cntl_af.cntl_cfg_prcs.prcs_grp IS 'group_name';
COMMENT ON COLUMN cntl_af.cntl_cfg_prcs.prir IS 'priority; NULL: 0.';
COMMENT ON COLUMN cntl_af.cntl_cfg_prcs.sys_file IS 'source_file; empty: none.';
COMMENT ON COLUMN cntl_af.cntl_cfg_prcs.embed_model IS 'embed_model; empty: the default.';
COMMENT ON COLUMN cntl_af.cntl_cfg_prcs.gen_model IS 'gen_model; empty: the default.';
COMMENT ON COLUMN cntl_af.cntl_cfg_prcs.collection IS 'collection; empty: none.';
COMMENT ON COLUMN cntl_af.cntl_cfg_prcs.nb_path_nm IS 'notebook_path';
COMMENT ON COLUMN cntl_af.cntl_cfg_prcs.nb_parm IS 'parameters: a JSON object, or a text that becomes the parameter nb_parm.';
COMMENT ON COLUMN cntl_af.cntl_cfg_prcs.act_f IS 'is_active: 1 or NULL active, 0 not.';
COMMENT ON COLUMN cntl_af.cntl_cfg_prcs.upt_dt IS 'updated_at; empty: now.';

COMMENT ON VIEW cntl_af.cntl_cfg_prcs_depn IS 'Dependencies (control.process_dependency).';
COMMENT ON COLUMN cntl_af.cntl_cfg_prcs_depn.prcs_nm IS 'process_name';
COMMENT ON COLUMN cntl_af.cntl_cfg_prcs_depn.dpnd_prcs_nm IS 'depends_on';
COMMENT ON COLUMN cntl_af.cntl_cfg_prcs_depn.act_f IS 'is_active: 1 or NULL active, 0 not.';
COMMENT ON COLUMN cntl_af.cntl_cfg_prcs_depn.upt_dt IS 'updated_at; empty: now.';

COMMENT ON VIEW cntl_af.cntl_cfg_sys_file IS 'Source files (control.source_file).';
COMMENT ON COLUMN cntl_af.cntl_cfg_sys_file.sys_nm IS 'source_file';
COMMENT ON COLUMN cntl_af.cntl_cfg_sys_file.file_type IS 'file_type; case and a leading dot do not matter.';
COMMENT ON COLUMN cntl_af.cntl_cfg_sys_file.dlm IS 'delimiter; empty: a comma.';
COMMENT ON COLUMN cntl_af.cntl_cfg_sys_file.chunk_size IS 'chunk_size; NULL: 256.';
COMMENT ON COLUMN cntl_af.cntl_cfg_sys_file.overlap IS 'chunk_overlap; NULL: 32, or an eighth of a small chunk_size.';
COMMENT ON COLUMN cntl_af.cntl_cfg_sys_file.upt_dt IS 'updated_at; empty: now.';

COMMENT ON VIEW cntl_af.cntl_sys_fle IS 'cntl_cfg_sys_file under its other name.';
COMMENT ON COLUMN cntl_af.cntl_sys_fle.sys_nm IS 'source_file';
COMMENT ON COLUMN cntl_af.cntl_sys_fle.file_type IS 'file_type; case and a leading dot do not matter.';
COMMENT ON COLUMN cntl_af.cntl_sys_fle.dlm IS 'delimiter; empty: a comma.';
COMMENT ON COLUMN cntl_af.cntl_sys_fle.chunk_size IS 'chunk_size; NULL: 256.';
COMMENT ON COLUMN cntl_af.cntl_sys_fle.overlap IS 'chunk_overlap; NULL: 32, or an eighth of a small chunk_size.';
COMMENT ON COLUMN cntl_af.cntl_sys_fle.upt_dt IS 'updated_at; empty: now.';

COMMENT ON VIEW cntl_af.cntl_cfg_schedule IS 'Schedules (control.schedule).';
COMMENT ON COLUMN cntl_af.cntl_cfg_schedule.strem_nm IS 'stream_name';
COMMENT ON COLUMN cntl_af.cntl_cfg_schedule.minutes IS 'minute; empty: 0.';
COMMENT ON COLUMN cntl_af.cntl_cfg_schedule.hours IS 'hour; empty: 0.';
COMMENT ON COLUMN cntl_af.cntl_cfg_schedule.day_month IS 'day_of_month; empty: *.';
COMMENT ON COLUMN cntl_af.cntl_cfg_schedule.months IS 'month; empty: *.';
COMMENT ON COLUMN cntl_af.cntl_cfg_schedule.day_week IS 'day_of_week; empty: *.';
COMMENT ON COLUMN cntl_af.cntl_cfg_schedule.upt_dt IS 'updated_at; empty: now.';

COMMENT ON VIEW cntl_af.cntl_cfg_log IS 'Attempts, and runs that wait for one; for reading.';
COMMENT ON COLUMN cntl_af.cntl_cfg_log.prcs_nm IS 'process_name';
COMMENT ON COLUMN cntl_af.cntl_cfg_log.data_dt IS 'data_date';
COMMENT ON COLUMN cntl_af.cntl_cfg_log.start_dt IS 'started_at; for a run that waits, queued_at.';
COMMENT ON COLUMN cntl_af.cntl_cfg_log.end_dt IS 'ended_at';
COMMENT ON COLUMN cntl_af.cntl_cfg_log.status IS '0 success or skipped, 1 running or waiting, 99 failed or crashed.';
COMMENT ON COLUMN cntl_af.cntl_cfg_log.message IS 'message';
COMMENT ON COLUMN cntl_af.cntl_cfg_log.source_row IS 'source_rows';
COMMENT ON COLUMN cntl_af.cntl_cfg_log.target_row IS 'target_rows';
