-- What a notebook's kernel asks the control schema, always by its attempt's token.

-- name: run
-- The attempt's own run, as its snapshot has it.
SELECT control.kernel_run(%(token)s) AS run

-- name: progress
-- Counts so far; NULL leaves a column as it is.
SELECT control.kernel_progress(
    %(token)s, %(source_rows)s, %(target_rows)s, %(tokens_in)s, %(tokens_out)s,
    %(llm_seconds)s, %(message)s
)

-- name: finish
-- The notebook's own counts of rows.
SELECT control.kernel_finish(%(token)s, %(source_rows)s, %(target_rows)s)

-- name: assert_fence
-- MR001 when another attempt has taken the run over.
SELECT control.kernel_assert_fence(%(token)s)
