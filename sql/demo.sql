-- The demo: a shop recommends one product to each of its customers. Loaded by `millrace demo`;
-- copy from it. Everything is in one transaction, because the tables are read once a second and
-- half a stream should not show. Loading it again puts the rows back as they stand here.
--
--   merchandise_recommendation         by hand, or `millrace run merchandise_recommendation`
--     1 prepare     ingest_catalogue, ingest_guide     side by side: both have priority 0
--     2 recommend   recommend                          needs both of the above
--     3 report      report                             needs recommend
--
--   weekly_digest                      Mondays, 06:30 in Vienna
--     1 publish     digest                             needs recommend, of the other stream

BEGIN;

-- The streams. `parameters` reach every notebook of the stream that declares them.
-- `notify` names a target of the settings (MILLRACE_NOTIFY_<NAME>); null tells nobody.
INSERT INTO control.stream
    (stream_name, description, question, owner, time_zone, parameters, notify)
VALUES
    (
        'merchandise_recommendation',
        'Reads the catalogue and the buying guide, then recommends one product to each customer.',
        'Which product of the catalogue serves this customer best, within the budget?',
        'merchandising', 'Europe/Vienna', '{"currency": "EUR"}', NULL
    ),
    (
        'weekly_digest',
        'One page on what was recommended, for the Monday meeting.',
        '',
        'merchandising', 'Europe/Vienna', '{"currency": "EUR"}', NULL
    )
ON CONFLICT (stream_name) DO UPDATE SET
    description = excluded.description,
    question = excluded.question,
    owner = excluded.owner,
    time_zone = excluded.time_zone,
    parameters = excluded.parameters,
    notify = excluded.notify,
    is_active = true;

-- The groups: lowest priority first; the next starts when the one before has succeeded.
-- Names of groups and processes are unique across all streams.
INSERT INTO control.process_group (group_name, stream_name, priority)
VALUES
    ('prepare', 'merchandise_recommendation', 1),
    ('recommend', 'merchandise_recommendation', 2),
    ('report', 'merchandise_recommendation', 3),
    ('publish', 'weekly_digest', 1)
ON CONFLICT (group_name) DO UPDATE SET
    stream_name = excluded.stream_name,
    priority = excluded.priority,
    is_active = true;

-- The source files: where in the lake a process finds its documents, and how to cut them.
-- chunk_size and chunk_overlap are in tokens. The catalogue is not cut: a row is a chunk.
INSERT INTO control.source_file
    (source_file, file_type, delimiter, chunk_size, chunk_overlap, lake_prefix)
VALUES
    ('shop_catalogue', 'csv', ',', 256, 0, 'raw/demo/catalogue.csv'),
    ('buying_guide', 'pdf', NULL, 160, 24, 'raw/demo/buying_guide.pdf')
ON CONFLICT (source_file) DO UPDATE SET
    file_type = excluded.file_type,
    delimiter = excluded.delimiter,
    chunk_size = excluded.chunk_size,
    chunk_overlap = excluded.chunk_overlap,
    lake_prefix = excluded.lake_prefix;

-- The processes: one notebook each (paths below notebooks/). Models are left out here, so the
-- default of the settings answers; name one in gen_model to choose, say 'llama3.2:3b'.
INSERT INTO control.process
    (process_name, group_name, priority, notebook_path, parameters, source_file, collection,
     retries, retry_delay_s, timeout_s)
VALUES
    (
        'ingest_catalogue', 'prepare', 0, 'demo/ingest_catalogue.ipynb',
        '{}', 'shop_catalogue', 'catalogue', 1, 5, 600
    ),
    (
        'ingest_guide', 'prepare', 0, 'demo/ingest_guide.ipynb',
        '{}', 'buying_guide', 'buying_guide', 1, 5, 600
    ),
    (
        'recommend', 'recommend', 0, 'demo/recommend.ipynb',
        '{"candidates": 8, "passages": 2}', NULL, 'catalogue', 1, 5, 3600
    ),
    (
        'report', 'report', 0, 'demo/report.ipynb',
        '{}', NULL, NULL, 1, 5, 600
    ),
    (
        'digest', 'publish', 0, 'demo/digest.ipynb',
        '{"lines": 5}', NULL, NULL, 1, 5, 600
    )
ON CONFLICT (process_name) DO UPDATE SET
    group_name = excluded.group_name,
    priority = excluded.priority,
    notebook_path = excluded.notebook_path,
    parameters = excluded.parameters,
    source_file = excluded.source_file,
    collection = excluded.collection,
    retries = excluded.retries,
    retry_delay_s = excluded.retry_delay_s,
    timeout_s = excluded.timeout_s,
    is_active = true;

-- The dependencies: a process waits for what it needs, for the same data date. What has already
-- succeeded is not run again; what has not run is started. The last row reaches into the other
-- stream: on a Monday without a recommendation, the digest has one made first.
INSERT INTO control.process_dependency (process_name, depends_on)
VALUES
    ('recommend', 'ingest_catalogue'),
    ('recommend', 'ingest_guide'),
    ('report', 'recommend'),
    ('digest', 'recommend')
ON CONFLICT (process_name, depends_on) DO UPDATE SET is_active = true;

-- The schedule: five cron fields, in the stream's time zone, counted from the row's creation, so
-- nothing fires for days gone by. A stream without a row here runs when someone starts it.
INSERT INTO control.schedule (stream_name, minute, hour, day_of_month, month, day_of_week)
VALUES ('weekly_digest', '30', '6', '*', '*', 'mon')
ON CONFLICT (stream_name) DO UPDATE SET
    minute = excluded.minute,
    hour = excluded.hour,
    day_of_month = excluded.day_of_month,
    month = excluded.month,
    day_of_week = excluded.day_of_week,
    is_active = true;

COMMIT;
