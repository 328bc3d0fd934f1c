"""Writes docs/reference/control-tables.md from the comments in a control database.

`python -m millrace.control.reference URL` prints it; a test compares it with the file.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Mapping
from itertools import groupby
from typing import Any

from millrace.control.postgres import STATEMENTS
from millrace.control.session import open_session

_HEAD = """\
# Control tables

Generated from the comments in `sql/schema.sql` and `sql/cntl_af.sql` by
`python -m millrace.control.reference`. Do not edit it here.

You write to the tables under *What to run*; Millrace writes the others. In one transaction the
order of INSERTs does not matter. Existing scripts may use the views of schema `cntl_af`; see
[compatibility](compatibility.md).
"""

_SECTIONS: Mapping[str, tuple[str, ...]] = {
    "What to run": (
        "control.stream",
        "control.process_group",
        "control.process",
        "control.process_dependency",
        "control.source_file",
        "control.schedule",
    ),
    "What ran": (
        "control.stream_run",
        "control.stream_run_member",
        "control.process_run",
        "control.run_log",
    ),
    "What was": ("control.snapshot", "control.change_log", "control.schema_version"),
    "Compatibility views": (
        "cntl_af.cntl_cfg_strem",
        "cntl_af.cntl_cfg_prcs_grp",
        "cntl_af.cntl_cfg_prcs",
        "cntl_af.cntl_cfg_prcs_depn",
        "cntl_af.cntl_cfg_sys_file",
        "cntl_af.cntl_sys_fle",
        "cntl_af.cntl_cfg_schedule",
        "cntl_af.cntl_cfg_log",
    ),
}


def control_tables_page(database_url: str) -> str:
    """The page as Markdown. Raises ControlUnavailable where the database does not answer."""
    with open_session(database_url, 30) as session:
        columns = session.rows(STATEMENTS["describe_columns"])
    tables = {name: list(rows) for name, rows in groupby(columns, key=lambda row: row["table"])}
    return "\n".join([_HEAD, *_page(tables)])


def _page(tables: Mapping[str, list[dict[str, Any]]]) -> Iterator[str]:
    for title, names in _SECTIONS.items():
        yield f"## {title}\n"
        for name in names:
            rows = tables[name]
            yield f"### {name}\n\n{rows[0]['table_comment']}\n"
            yield from _column_table(rows)
            yield ""


def _column_table(rows: Iterable[Mapping[str, Any]]) -> Iterator[str]:
    yield "| column | type | default | meaning |"
    yield "|---|---|---|---|"
    for row in rows:
        name = f"**{row['column']}**" if row["is_key"] else row["column"]
        default = f"`{row['default']}`" if row["default"] else "required" * row["is_required"]
        yield f"| {name} | {row['type']} | {default} | {_plain(row['comment'])} |"


def _plain(text: str) -> str:
    # <name> would be taken for a tag, a bar for the end of a cell.
    return text.replace("<", "&lt;").replace("|", "\\|")


if __name__ == "__main__":
    sys.stdout.write(control_tables_page(sys.argv[1]))
