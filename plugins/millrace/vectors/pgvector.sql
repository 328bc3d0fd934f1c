-- Every statement of pgvector.py: a name, what it does, the SQL.
-- %(x)s are values; {table} and the like are identifiers, filled in by psycopg2.sql.

-- name: schema_exists
-- Whether the first write has been here.
SELECT to_regclass('vectors.collection') IS NOT NULL

-- name: create_extension
-- pgvector itself; only a superuser may.
CREATE EXTENSION IF NOT EXISTS vector

-- name: create_schema
-- Everything of the collections lies in one schema.
CREATE SCHEMA IF NOT EXISTS vectors

-- name: create_registry
-- Which collections there are, and with which model their vectors were made.
CREATE TABLE IF NOT EXISTS vectors.collection (
    collection_name text PRIMARY KEY CHECK (collection_name ~ '^[A-Za-z0-9_.-]{1,200}$'),
    table_name      text NOT NULL UNIQUE,
    dim             integer NOT NULL CHECK (dim BETWEEN 1 AND 2000),
    embed_model     text NOT NULL,
    created_at      timestamptz NOT NULL DEFAULT now()
);
COMMENT ON TABLE vectors.collection IS
    'One row per collection: the table in this schema that holds its chunks, and the model of its vectors.'

-- name: share_schema
-- A role may make collections of its own and write the registry.
GRANT USAGE, CREATE ON SCHEMA vectors TO {role};
GRANT SELECT, INSERT, UPDATE, DELETE ON vectors.collection TO {role}

-- name: become_kernel
-- Tables belong to the kernels' role, whoever of its members makes them; '' where that cannot be.
SELECT rolname FROM pg_roles
WHERE rolname = 'millrace_kernel' AND rolname <> current_user
  AND pg_has_role(current_user, oid, 'SET') AND has_schema_privilege(oid, 'vectors', 'CREATE')

-- name: sharers
-- Roles that use what this one makes: the kernels, and the owner of the schema.
SELECT rolname FROM pg_roles WHERE rolname = 'millrace_kernel' AND rolname <> current_user
UNION
SELECT pg_get_userbyid(nspowner) FROM pg_namespace
WHERE nspname = 'vectors' AND pg_get_userbyid(nspowner) <> current_user

-- name: lock_collection
-- Writers of one collection take turns; readers do not wait.
SELECT pg_advisory_xact_lock(hashtextextended('millrace.vectors.' || %(name)s, 0))

-- name: collection
-- Where a collection lies.
SELECT table_name, dim, embed_model FROM vectors.collection WHERE collection_name = %(name)s

-- name: collection_names
-- Every collection.
SELECT collection_name FROM vectors.collection ORDER BY collection_name

-- name: register_collection
-- A new collection.
INSERT INTO vectors.collection (collection_name, table_name, dim, embed_model)
VALUES (%(name)s, %(table_name)s, %(dim)s, %(embed_model)s)

-- name: forget_collection
-- A collection that is dropped.
DELETE FROM vectors.collection WHERE collection_name = %(name)s RETURNING table_name

-- name: create_chunks
-- A table of its own per collection: an HNSW index needs one number of dimensions.
CREATE TABLE {table} (
    chunk_id     uuid PRIMARY KEY,
    text         text NOT NULL,
    embedding    vector({dim}) NOT NULL,
    source_uri   text NOT NULL,
    position     integer NOT NULL,
    page         integer,
    "row"        integer,
    content_hash text NOT NULL,
    properties   jsonb NOT NULL DEFAULT '{{}}',
    words        tsvector NOT NULL GENERATED ALWAYS AS (to_tsvector('english', text)) STORED,
    updated_at   timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX ON {table} USING hnsw (embedding vector_cosine_ops);
CREATE INDEX ON {table} USING gin (words);
CREATE INDEX ON {table} (source_uri text_pattern_ops)

-- name: share_chunks
-- Whoever may use collections may use this one.
GRANT SELECT, INSERT, UPDATE, DELETE, TRUNCATE ON {table} TO {role}

-- name: drop_chunks
-- The chunks of a dropped collection.
DROP TABLE {table}

-- name: count_chunks
-- How many chunks a collection holds.
SELECT count(*) FROM {table}

-- name: content_hashes
-- What is there already, below a source prefix.
SELECT chunk_id::text, content_hash FROM {table}
WHERE starts_with(source_uri, %(source_prefix)s)
  AND (%(chunk_ids)s::uuid[] IS NULL OR chunk_id = ANY (%(chunk_ids)s::uuid[]))

-- name: upsert_chunks
-- New chunks, and those whose content changed.
INSERT INTO {table}
    (chunk_id, text, embedding, source_uri, position, page, "row", content_hash, properties)
VALUES %s
ON CONFLICT (chunk_id) DO UPDATE SET
    text = excluded.text, embedding = excluded.embedding, source_uri = excluded.source_uri,
    position = excluded.position, page = excluded.page, "row" = excluded."row",
    content_hash = excluded.content_hash, properties = excluded.properties, updated_at = now()

-- name: move_chunks
-- Chunks whose text stayed, while their place in the source moved.
UPDATE {table} AS c SET
    source_uri = m.source_uri, position = m.position, page = m.page, "row" = m."row",
    content_hash = m.content_hash, properties = m.properties, updated_at = now()
FROM (VALUES %s) AS m (chunk_id, source_uri, position, page, "row", content_hash, properties)
WHERE c.chunk_id = m.chunk_id

-- name: delete_chunks
-- Chunks that vanished from their source.
DELETE FROM {table} WHERE chunk_id = ANY (%(chunk_ids)s::uuid[])

-- name: assert_fence
-- MR001 when another attempt has taken the run over.
SELECT control.kernel_assert_fence(%(token)s)

-- name: tune_search
-- Enough candidates for the HNSW index, and more of them where a filter throws some away.
SELECT set_config('hnsw.ef_search', %(candidates)s::text, true),
       set_config('hnsw.iterative_scan', 'strict_order', true)

-- name: search
-- Two ranked lists per query, by meaning and by words, joined by reciprocal rank fusion:
-- score = sum of 1 / (60 + rank). A mode switches one of the lists off.
WITH query AS (
    SELECT number, embedding::vector AS embedding,
           -- any of the words, not all of them: questions hold more words than answers
           replace(plainto_tsquery('english', text)::text, '&', '|')::tsquery AS words
    FROM unnest(%(texts)s::text[], %(embeddings)s::text[]) WITH ORDINALITY
         AS q (text, embedding, number)
),
by_meaning AS (
    SELECT q.number, c.chunk_id, row_number() OVER (PARTITION BY q.number ORDER BY c.distance) AS rank
    FROM query AS q CROSS JOIN LATERAL (
        SELECT chunk_id, embedding <=> q.embedding AS distance FROM {table} AS t
        WHERE q.embedding IS NOT NULL AND {fits}
        ORDER BY embedding <=> q.embedding LIMIT %(candidates)s
    ) AS c
),
by_words AS (
    SELECT q.number, c.chunk_id, row_number() OVER (PARTITION BY q.number ORDER BY c.weight DESC) AS rank
    FROM query AS q CROSS JOIN LATERAL (
        SELECT chunk_id, ts_rank_cd(words, q.words, 1) AS weight FROM {table} AS t
        WHERE %(by_words)s AND words @@ q.words AND {fits}
        ORDER BY weight DESC, chunk_id LIMIT %(candidates)s
    ) AS c
),
fused AS (
    SELECT number, chunk_id, sum(1.0 / (60 + rank)) AS score
    FROM (SELECT * FROM by_meaning UNION ALL SELECT * FROM by_words) AS ranked
    GROUP BY number, chunk_id
),
best AS (
    SELECT *, row_number() OVER (PARTITION BY number ORDER BY score DESC, chunk_id) AS place FROM fused
)
SELECT b.number - 1, t.chunk_id::text, t.text, b.score::float8, t.source_uri, t.position, t.page,
       t."row", t.properties
FROM best AS b JOIN {table} AS t USING (chunk_id)
WHERE b.place <= %(k)s
ORDER BY b.number, b.place

-- name: fits_all
-- The filter of a search without one.
TRUE

-- name: fits_where
-- Every property asked for is there and has the value, or one of the values.
NOT EXISTS (
    SELECT 1 FROM jsonb_each(%(where)s::jsonb) AS w
    WHERE (CASE WHEN jsonb_typeof(w.value) = 'array' THEN t.properties -> w.key <@ w.value
                ELSE t.properties -> w.key = w.value END) IS NOT TRUE
)
