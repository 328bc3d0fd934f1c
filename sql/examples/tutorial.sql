-- Your first stream: three INSERTs and a notebook (docs/tutorial.md).
BEGIN;

INSERT INTO control.stream (stream_name, description, owner)
VALUES ('hello', 'My first stream.', 'me');

INSERT INTO control.process_group (group_name, stream_name, priority)
VALUES ('greet', 'hello', 1);

INSERT INTO control.process (process_name, group_name, notebook_path, parameters)
VALUES ('say_hello', 'greet', 'templates/hello.ipynb', '{"name": "Ada"}');

COMMIT;
