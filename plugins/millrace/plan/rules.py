"""The rule of every column that a DAG or a run depends on.

The database's constraints say most of this too. These rules hold whatever wrote the rows, and a
row that breaks one disables its own stream and nothing else.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import MISSING, fields
from datetime import UTC, date, datetime
from functools import lru_cache
from keyword import iskeyword
from pathlib import PurePosixPath
from typing import Any
from zoneinfo import ZoneInfo

from croniter import CroniterError, croniter

from millrace.model import (
    NAME_PATTERN,
    Dependency,
    Process,
    ProcessGroup,
    Schedule,
    SourceFile,
    Stream,
)
from millrace.plan.faults import Rule

FILE_TYPES = ("pdf", "csv", "txt", "md", "html", "docx", "json", "jsonl", "parquet")
LLM_PRIORITIES = ("api", "web", "async", "batch")
ON_FAILURE = ("stop", "continue")

_LARGEST = 2**31 - 1
_CRON_FIELD = re.compile(
    r"(?:[0-9*,/-]|(?:jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec|sun|mon|tue|wed|thu|fri|sat))+",
    re.IGNORECASE,
)
_IDENTIFIER = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_BASE = datetime(2024, 1, 1, tzinfo=UTC)


def is_name(value: Any) -> bool:
    """Fit to be a DAG id, a run id and a file name."""
    return isinstance(value, str) and NAME_PATTERN.match(value) is not None


def is_text(value: Any, longest: int = 100_000) -> bool:
    """A text that every store takes."""
    return isinstance(value, str) and len(value) <= longest and "\0" not in value


def is_optional_text(value: Any) -> bool:
    """None or a text that says something."""
    return value is None or (is_text(value, 1000) and value != "")


def is_number(value: Any, least: int) -> bool:
    """A whole number that Postgres's integer holds; True and False are none."""
    return isinstance(value, int) and not isinstance(value, bool) and least <= value <= _LARGEST


def is_date(value: Any) -> bool:
    """None or a calendar day as JSON spells it."""
    return value is None or _parses(date.fromisoformat, value)


def is_time_zone(value: Any) -> bool:
    """A zone that Python knows as well as Postgres."""
    return isinstance(value, str) and _is_zone(value)


@lru_cache(maxsize=256)
def _is_zone(name: str) -> bool:
    try:
        return bool(name) and ZoneInfo(name) is not None
    except (ValueError, OSError, LookupError):
        return False


def is_parameters(value: Any) -> bool:
    """Names that a notebook can declare, values that JSON has."""
    return isinstance(value, Mapping) and all(
        isinstance(key, str) and _IDENTIFIER.fullmatch(key) and not iskeyword(key) and is_json(item)
        for key, item in value.items()
    )


def is_json(value: Any) -> bool:
    """A JSON value: no bytes, no dates, no NaN, and no NUL in a text."""
    if isinstance(value, Mapping):
        return all(isinstance(k, str) and "\0" not in k and is_json(v) for k, v in value.items())
    if isinstance(value, list):
        return all(map(is_json, value))
    if isinstance(value, float):
        return math.isfinite(value)
    if isinstance(value, str):
        return "\0" not in value
    return value is None or isinstance(value, bool | int)


def is_notebook_path(value: Any) -> bool:
    """A relative path below the notebooks folder, and nothing that papermill would expand."""
    if not is_text(value, 1000) or not value.strip() or re.search(r"[\\{}\x00-\x1f\x7f]", value):
        return False
    if value.startswith("/") or re.match(r"[A-Za-z][A-Za-z0-9+.-]*:", value):
        return False
    return ".." not in PurePosixPath(value).parts and normal_path(value) != ".ipynb"


def normal_path(path: str) -> str:
    """The path below the notebooks folder: `notebooks/a` and `a.ipynb` are `a.ipynb`."""
    parts = PurePosixPath(path.strip()).parts
    bare = "/".join(parts[1:] if parts[:1] == ("notebooks",) else parts)
    return bare if bare.endswith(".ipynb") else f"{bare}.ipynb"


@lru_cache(maxsize=4096)
def cron_complaint(expression: str) -> str:
    """Why five cron fields are no schedule; empty where they are one."""
    fields_given = expression.split(" ")
    if len(fields_given) != 5 or not all(map(_CRON_FIELD.fullmatch, fields_given)):
        return "is not five cron fields"
    try:
        croniter(expression, _BASE).get_next(datetime)
    except (CroniterError, ValueError, KeyError, OverflowError) as exc:
        return f"is never due: {exc}"
    return ""


def _is_created_at(value: Any) -> bool:
    return _parses(datetime.fromisoformat, value)


def _parses(parse: Any, value: Any) -> bool:
    if not isinstance(value, str):
        return False
    try:
        parse(value)
    except ValueError:
        return False
    return True


NAME = Rule(is_name, "1 to 200 of A-Z a-z 0-9 _ . - and not dots alone")
TEXT = Rule(is_text, "a text")
OWNER = Rule(lambda v: is_text(v, 500) and v.strip() != "", "a text of 1 to 500 characters")
OPTIONAL = Rule(is_optional_text, "empty (null) or a text of 1 to 1000 characters")
FLAG = Rule(lambda v: isinstance(v, bool), "true or false")
COUNT = Rule(lambda v: is_number(v, 0), "a whole number of at least 0")
POSITIVE = Rule(lambda v: is_number(v, 1), "a whole number of at least 1")
LIMIT = Rule(lambda v: v is None or is_number(v, 1), "empty (null) or a whole number of at least 1")
PARAMETERS = Rule(
    is_parameters, "a JSON object whose keys are names of notebook parameters (Python identifiers)"
)


def one_of(words: tuple[str, ...]) -> Rule:
    """The rule of a column with a fixed set of words."""
    return Rule(lambda v: isinstance(v, str) and v in words, f"one of {', '.join(words)}")


STREAM = {
    "stream_name": NAME,
    "description": TEXT,
    "question": TEXT,
    "owner": OWNER,
    "parameters": PARAMETERS,
    "time_zone": Rule(is_time_zone, "a time zone such as Europe/Berlin"),
    "is_live": FLAG,
    "data_date": Rule(is_date, "empty (null) or a date such as 2026-11-20"),
    "max_active_runs": POSITIVE,
    "catchup": FLAG,
    "notify": OPTIONAL,
}
GROUP = {
    "group_name": NAME,
    "stream_name": NAME,
    "priority": COUNT,
    "on_failure": one_of(ON_FAILURE),
}
PROCESS = {
    "process_name": NAME,
    "group_name": NAME,
    "notebook_path": Rule(
        is_notebook_path,
        "a relative path below the notebooks folder, without a scheme, .., braces or backslashes",
    ),
    "priority": COUNT,
    "parameters": PARAMETERS,
    "source_file": Rule(lambda v: v is None or is_name(v), "empty (null) or a name"),
    "embed_model": OPTIONAL,
    "gen_model": OPTIONAL,
    "collection": OPTIONAL,
    "retries": COUNT,
    "retry_delay_s": COUNT,
    "timeout_s": POSITIVE,
    "memory_limit_mb": LIMIT,
    "pool": Rule(lambda v: is_text(v, 256) and v != "", "the name of an Airflow pool"),
    "llm_priority": one_of(LLM_PRIORITIES),
}
DEPENDENCY = {"process_name": NAME, "depends_on": NAME, "is_active": FLAG}
SOURCE_FILE = {
    "source_file": NAME,
    "file_type": one_of(FILE_TYPES),
    "delimiter": Rule(
        lambda v: v is None or (is_text(v, 8) and v != ""), "empty or 1-8 characters"
    ),
    "chunk_size": POSITIVE,
    "chunk_overlap": COUNT,
    "lake_prefix": TEXT,
}
SCHEDULE = {
    "stream_name": NAME,
    **{
        column: Rule(lambda v: is_text(v, 200), "a cron field")
        for column in ("minute", "hour", "day_of_month", "month", "day_of_week")
    },
    "created_at": Rule(_is_created_at, "a time stamp"),
}


def defaults_of(entity: type) -> Mapping[str, Any]:
    """The defaults of an entity's columns, for rows that leave some out."""
    given = {f.name: f.default for f in fields(entity) if f.default is not MISSING}
    made = {f.name: f.default_factory() for f in fields(entity) if f.default_factory is not MISSING}
    return given | made


DEFAULTS: Mapping[str, Mapping[str, Any]] = {
    "stream": defaults_of(Stream),
    "process_group": defaults_of(ProcessGroup),
    "process": defaults_of(Process),
    "process_dependency": defaults_of(Dependency),
    "source_file": defaults_of(SourceFile),
    "schedule": defaults_of(Schedule),
}
