"""What a run is: told by the control schema to a kernel, by the newest snapshot to an author."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from datetime import date, datetime
from typing import Any
from zoneinfo import ZoneInfo

from millrace.errors import UnknownName
from millrace.model import SourceFile


@dataclass(frozen=True)
class RunFacts:
    """The identity of a run and its process's row (control.kernel_run)."""

    run_id: str
    process_name: str
    stream_name: str
    data_date: date
    generation: int = 1
    attempt: int = 1
    fence: int = 0
    question: str = ""
    parameters: Mapping[str, Any] = field(default_factory=dict)
    source_file: SourceFile | None = None
    embed_model: str = ""
    gen_model: str = ""
    collection: str = ""
    llm_priority: str = "batch"


def production_facts(run: Mapping[str, Any]) -> RunFacts:
    """The facts of the attempt that a kernel works for."""
    return RunFacts(
        run_id=str(run["run_id"]),
        process_name=str(run["process_name"]),
        stream_name=str(run["stream_name"]),
        data_date=date.fromisoformat(run["data_date"]),
        generation=int(run["generation"]),
        attempt=int(run["attempt"]),
        fence=int(run["fence"]),
        question=run.get("question") or "",
        parameters=run.get("parameters") or {},
        source_file=_source_file(run.get("source_file")),
        **_models(run),
    )


def interactive_facts(
    content: Mapping[str, Any], process_name: str, data_date: date | None
) -> RunFacts:
    """The facts of a run that an author makes up: generation 1 of a process of the snapshot.

    UnknownName, with the processes there are, where the snapshot has no such process.
    """
    entry, process = _process(content, process_name)
    stream = entry["stream"]
    day = data_date or _data_date(stream)
    source = next(
        (s for s in entry["source_files"] if s["source_file"] == process.get("source_file")), None
    )
    return RunFacts(
        run_id=f"{process_name}__{day.isoformat()}__interactive",
        process_name=process_name,
        stream_name=stream["stream_name"],
        data_date=day,
        question=stream.get("question") or "",
        parameters={**(stream.get("parameters") or {}), **(process.get("parameters") or {})},
        source_file=_source_file(source),
        **_models(process),
    )


def _process(
    content: Mapping[str, Any], process_name: str
) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
    entries = content["streams"].values()
    known = {p["process_name"]: (entry, p) for entry in entries for p in entry["processes"]}
    if process_name not in known:
        names = ", ".join(sorted(known)) or "none"
        raise UnknownName(f"No process {process_name!r}.", cure=f"There are: {names}.")
    return known[process_name]


def _data_date(stream: Mapping[str, Any]) -> date:
    if not stream.get("is_live", True) and stream.get("data_date"):
        return date.fromisoformat(stream["data_date"])
    return datetime.now(ZoneInfo(stream.get("time_zone") or "UTC")).date()


def _source_file(row: Mapping[str, Any] | None) -> SourceFile | None:
    if not row:
        return None
    given = {f.name: row[f.name] for f in fields(SourceFile) if row.get(f.name) is not None}
    return SourceFile(**given)


def _models(row: Mapping[str, Any]) -> dict[str, Any]:
    names = ("embed_model", "gen_model", "collection")
    return {name: row.get(name) or "" for name in names} | {
        "llm_priority": row.get("llm_priority") or "batch"
    }
