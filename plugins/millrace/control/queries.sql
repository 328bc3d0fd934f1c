-- Statements of control/postgres.py and control/postgres_runs.py.

-- name: read_rows
-- Every control row, the busy processes and the newest snapshot's version, as one JSON value:
-- one statement sees one state of the tables.
SELECT json_build_object(
    'streams', (
        SELECT coalesce(json_agg(to_jsonb(t) - '{created_at,updated_at}'::text[]), '[]')
        FROM control.stream AS t
    ),
    'groups', (
        SELECT coalesce(json_agg(to_jsonb(t) - 'updated_at'), '[]') FROM control.process_group AS t
    ),
    'processes', (
        SELECT coalesce(json_agg(to_jsonb(t) - 'updated_at'), '[]') FROM control.process AS t
    ),
    'dependencies', (
        SELECT coalesce(json_agg(to_jsonb(t) - 'updated_at'), '[]')
        FROM control.process_dependency AS t
    ),
    'source_files', (
        SELECT coalesce(json_agg(to_jsonb(t) - 'updated_at'), '[]') FROM control.source_file AS t
    ),
    'schedules', (
        SELECT coalesce(json_agg(to_jsonb(t) - 'updated_at'), '[]') FROM control.schedule AS t
    ),
    'busy', (
        SELECT coalesce(json_agg(DISTINCT process_name), '[]') FROM control.process_run
        WHERE state IN ('queued', 'running', 'retrying')
    ),
    'latest_version', (
        SELECT control_version FROM control.snapshot ORDER BY taken_at DESC LIMIT 1
    )
) AS rows

-- name: save_snapshot
-- Keep a version; one that is there already becomes the newest.
INSERT INTO control.snapshot (control_version, content, format)
VALUES (%(control_version)s, %(content)s, %(format)s)
ON CONFLICT (control_version) DO UPDATE SET taken_at = clock_timestamp()

-- name: load_snapshot
-- One version, or the newest where none is named.
SELECT control_version, content, format FROM control.snapshot
WHERE %(control_version)s::text IS NULL OR control_version = %(control_version)s
ORDER BY taken_at DESC LIMIT 1

-- name: latest_version
-- The newest snapshot's version.
SELECT control_version FROM control.snapshot ORDER BY taken_at DESC LIMIT 1

-- name: prune_snapshots
-- Delete versions that nothing refers to, beyond the newest ones.
DELETE FROM control.snapshot AS old
WHERE control_version NOT IN (
    SELECT control_version FROM control.snapshot ORDER BY taken_at DESC LIMIT %(keep_latest)s
)
AND NOT EXISTS (
    SELECT FROM control.process_run WHERE control_version = old.control_version
)
AND NOT EXISTS (SELECT FROM control.run_log WHERE control_version = old.control_version)
AND NOT EXISTS (SELECT FROM control.stream_run WHERE control_version = old.control_version)
AND NOT EXISTS (
    SELECT FROM control.stream_run_member WHERE control_version = old.control_version
)
RETURNING control_version

-- name: lock_stream_day
-- The tasks of a stream's DAG runs take turns in opening its run of a day.
SELECT pg_advisory_xact_lock(
    hashtextextended('stream_run/' || %(stream_name)s || '/' || %(data_date)s, 0)
)

-- name: find_member
-- What this DAG run, cleared this often, opened or joined.
SELECT r.stream_name, r.data_date, r.generation, m.control_version, r.state, r.opened_at,
    r.ended_at, r.message
FROM control.stream_run_member AS m
JOIN control.stream_run AS r USING (stream_name, data_date, generation)
WHERE m.stream_name = %(stream_name)s AND m.dag_run_id = %(dag_run_id)s
    AND (%(clear_number)s::integer IS NULL OR m.clear_number = %(clear_number)s)
ORDER BY m.clear_number DESC LIMIT 1

-- name: find_generation
-- The generation this DAG run had before it was cleared, and the newest one of that day.
SELECT
    (
        SELECT generation FROM control.stream_run_member
        WHERE stream_name = %(stream_name)s AND data_date = %(data_date)s
            AND dag_run_id = %(dag_run_id)s
        ORDER BY clear_number DESC LIMIT 1
    ) AS own,
    (
        SELECT max(generation) FROM control.stream_run
        WHERE stream_name = %(stream_name)s AND data_date = %(data_date)s
    ) AS newest

-- name: open_stream_run
-- Open a generation, or take it up again with the current snapshot.
INSERT INTO control.stream_run (stream_name, data_date, generation, control_version)
VALUES (%(stream_name)s, %(data_date)s, %(generation)s, %(control_version)s)
ON CONFLICT (stream_name, data_date, generation) DO UPDATE
SET control_version = excluded.control_version, state = 'running', ended_at = NULL, message = ''

-- name: join_stream_run
-- Note which DAG run works on the stream run.
INSERT INTO control.stream_run_member (
    stream_name, dag_run_id, clear_number, data_date, generation, control_version
) VALUES (
    %(stream_name)s, %(dag_run_id)s, %(clear_number)s, %(data_date)s, %(generation)s,
    %(control_version)s
)

-- name: close_stream_run
-- Write how a stream run ended.
UPDATE control.stream_run
SET state = %(state)s, ended_at = clock_timestamp(), message = %(message)s
WHERE stream_name = %(stream_name)s AND data_date = %(data_date)s AND generation = %(generation)s
RETURNING generation

-- name: stream_runs
-- Newest first.
SELECT stream_name, data_date, generation, control_version, state, opened_at, ended_at, message
FROM control.stream_run
WHERE %(stream_name)s::text IS NULL OR stream_name = %(stream_name)s
ORDER BY opened_at DESC LIMIT %(limit)s

-- name: latest_generation
-- The newest generation of a process's runs of a day.
SELECT coalesce(max(generation), 1) AS generation FROM control.process_run
WHERE process_name = %(process_name)s AND data_date = %(data_date)s

-- name: queue_absent
-- Start a process run that nobody has started; no row where somebody has.
INSERT INTO control.process_run (
    process_name, data_date, generation, stream_name, state, control_version, requested_by
) VALUES (
    %(process_name)s, %(data_date)s, %(generation)s, %(stream_name)s, 'queued',
    %(control_version)s, %(requested_by)s
)
ON CONFLICT DO NOTHING
RETURNING *

-- name: queue_again
-- Restart a process run that has ended; its fence stays, the next attempt raises it.
UPDATE control.process_run SET
    state = 'queued', stream_name = %(stream_name)s, control_version = %(control_version)s,
    requested_by = %(requested_by)s, queued_at = clock_timestamp(), ended_at = NULL, message = NULL,
    dag_run_id = NULL, heartbeat_at = NULL
WHERE process_name = %(process_name)s AND data_date = %(data_date)s AND generation = %(generation)s
RETURNING *

-- name: lock_run
-- The arbiter's row, until the end of the transaction.
SELECT *, heartbeat_at > clock_timestamp() - make_interval(secs => %(fresh_s)s) AS is_fresh
FROM control.process_run
WHERE process_name = %(process_name)s AND data_date = %(data_date)s AND generation = %(generation)s
FOR UPDATE

-- name: process_run
-- The arbiter's row as it is.
SELECT * FROM control.process_run
WHERE process_name = %(process_name)s AND data_date = %(data_date)s AND generation = %(generation)s

-- name: process_run_of
-- The run that a DAG run executes or asked for.
SELECT * FROM control.process_run
WHERE process_name = %(process_name)s
    AND (dag_run_id = %(dag_run_id)s OR starts_with(requested_by, %(dag_run_id)s || '#'))
ORDER BY (dag_run_id = %(dag_run_id)s) DESC NULLS LAST, queued_at DESC LIMIT 1

-- name: process_runs
-- Many of the arbiter's rows, by three arrays of equal length.
SELECT r.* FROM control.process_run AS r
JOIN unnest(%(process_names)s::text[], %(data_dates)s::date[], %(generations)s::integer[])
    AS wanted (process_name, data_date, generation)
USING (process_name, data_date, generation)

-- name: take_run
-- A new attempt holds the run: fence + 1, its own token.
INSERT INTO control.process_run AS run (
    process_name, data_date, generation, stream_name, state, fence, control_version, dag_run_id,
    clear_number, started_at, heartbeat_at, token_sha256
) VALUES (
    %(process_name)s, %(data_date)s, %(generation)s, %(stream_name)s, 'running', 1,
    %(control_version)s, %(dag_run_id)s, %(clear_number)s, clock_timestamp(), clock_timestamp(),
    %(token_sha256)s
)
ON CONFLICT (process_name, data_date, generation) DO UPDATE SET
    stream_name = excluded.stream_name, state = 'running', fence = run.fence + 1,
    control_version = excluded.control_version, dag_run_id = excluded.dag_run_id,
    clear_number = excluded.clear_number, started_at = excluded.started_at,
    heartbeat_at = excluded.heartbeat_at, ended_at = NULL, message = NULL,
    token_sha256 = excluded.token_sha256
RETURNING *

-- name: close_open_log
-- End the attempt that the log still has as running.
UPDATE control.run_log
SET status = %(status)s, ended_at = clock_timestamp(), message = %(message)s
WHERE process_name = %(process_name)s AND data_date = %(data_date)s
    AND generation = %(generation)s AND status = 'running'
RETURNING *

-- name: open_log
-- A new row of the log, with the next attempt's number.
INSERT INTO control.run_log (
    run_id, attempt, process_name, stream_name, data_date, generation, control_version, dag_run_id,
    fence
)
SELECT %(run_id)s, 1 + coalesce(max(attempt), 0), %(process_name)s, %(stream_name)s,
    %(data_date)s, %(generation)s, %(control_version)s, %(dag_run_id)s, %(fence)s
FROM control.run_log WHERE run_id = %(run_id)s
RETURNING attempt

-- name: open_mark_log
-- A row for a state set from outside, unless the last attempt since the start says the same.
INSERT INTO control.run_log (
    run_id, attempt, process_name, stream_name, data_date, generation, status, ended_at, message,
    control_version, dag_run_id, fence
)
SELECT %(run_id)s, 1 + coalesce(max(attempt), 0), %(process_name)s, %(stream_name)s,
    %(data_date)s, %(generation)s, %(status)s, clock_timestamp(), %(message)s,
    %(control_version)s, %(dag_run_id)s, %(fence)s
FROM control.run_log WHERE run_id = %(run_id)s
HAVING NOT EXISTS (
    SELECT FROM control.run_log AS newest
    WHERE newest.run_id = %(run_id)s AND newest.attempt = max(run_log.attempt)
        AND newest.status = %(status)s AND newest.started_at >= %(queued_at)s
)

-- name: heartbeat
-- Say that the attempt lives. A row that is locked by the attempt's own effects is passed over:
-- the lock says as much.
WITH held AS (
    SELECT process_name, data_date, generation FROM control.process_run
    WHERE process_name = %(process_name)s AND data_date = %(data_date)s
        AND generation = %(generation)s AND fence = %(fence)s AND state = 'running'
    FOR NO KEY UPDATE SKIP LOCKED
),
beat AS (
    UPDATE control.process_run AS run SET heartbeat_at = clock_timestamp()
    FROM held
    WHERE run.process_name = held.process_name AND run.data_date = held.data_date
        AND run.generation = held.generation
)
SELECT fence = %(fence)s AND state = 'running' AS holds FROM control.process_run
WHERE process_name = %(process_name)s AND data_date = %(data_date)s AND generation = %(generation)s

-- name: close_log
-- Write how an attempt ended.
UPDATE control.run_log SET
    status = %(status)s, ended_at = clock_timestamp(), message = %(message)s,
    executed_notebook_uri = %(executed_notebook_uri)s, notebook_sha256 = %(notebook_sha256)s
WHERE run_id = %(run_id)s AND fence = %(fence)s

-- name: leave_run
-- The attempt lets go of the run.
UPDATE control.process_run SET
    state = %(state)s, message = %(message)s, token_sha256 = NULL,
    ended_at = CASE WHEN %(state)s IN ('success', 'failed', 'skipped') THEN clock_timestamp() END
WHERE process_name = %(process_name)s AND data_date = %(data_date)s AND generation = %(generation)s

-- name: mark_run
-- Set the state from outside; whoever works on the run loses its fence.
INSERT INTO control.process_run AS run (
    process_name, data_date, generation, stream_name, state, fence, dag_run_id, message, ended_at
) VALUES (
    %(process_name)s, %(data_date)s, %(generation)s, %(stream_name)s, %(state)s, 1,
    %(dag_run_id)s, %(message)s,
    CASE WHEN %(state)s IN ('success', 'failed', 'skipped') THEN clock_timestamp() END
)
ON CONFLICT (process_name, data_date, generation) DO UPDATE SET
    state = excluded.state, fence = run.fence + 1, message = excluded.message,
    ended_at = excluded.ended_at, token_sha256 = NULL,
    dag_run_id = coalesce(excluded.dag_run_id, run.dag_run_id)
RETURNING *

-- name: crash_lost
-- Take the run from attempts that have been silent; one whose effects hold its row is not lost.
UPDATE control.process_run AS run SET
    state = 'failed', fence = run.fence + 1, token_sha256 = NULL, ended_at = clock_timestamp(),
    message = %(message)s
FROM (
    SELECT process_name, data_date, generation FROM control.process_run
    WHERE state = 'running'
        AND heartbeat_at < clock_timestamp() - make_interval(secs => %(silent_for_s)s)
    FOR UPDATE SKIP LOCKED
) AS lost
WHERE run.process_name = lost.process_name AND run.data_date = lost.data_date
    AND run.generation = lost.generation
RETURNING run.*

-- name: log
-- Newest attempts first.
SELECT * FROM control.run_log
WHERE (%(stream_name)s::text IS NULL OR stream_name = %(stream_name)s)
    AND (%(process_name)s::text IS NULL OR process_name = %(process_name)s)
ORDER BY started_at DESC LIMIT %(limit)s

-- name: describe_columns
-- Tables, views and columns with their comments, for the reference page.
SELECT n.nspname || '.' || c.relname AS "table", obj_description(c.oid, 'pg_class') AS table_comment,
    a.attname AS "column", a.attnum = ANY (coalesce(k.conkey, '{}')) AS is_key,
    replace(format_type(a.atttypid, a.atttypmod), 'timestamp with time zone', 'timestamptz') AS "type",
    regexp_replace(pg_get_expr(d.adbin, d.adrelid), '::[a-z.]+( varying)?', '', 'g') AS "default",
    a.attnotnull AND a.attidentity = '' AS is_required,
    col_description(c.oid, a.attnum) AS comment
FROM pg_class AS c
JOIN pg_namespace AS n ON n.oid = c.relnamespace
JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
LEFT JOIN pg_attrdef AS d ON d.adrelid = c.oid AND d.adnum = a.attnum
LEFT JOIN pg_constraint AS k ON k.conrelid = c.oid AND k.contype = 'p'
WHERE n.nspname IN ('control', 'cntl_af') AND c.relkind IN ('r', 'v')
ORDER BY 1, a.attnum
