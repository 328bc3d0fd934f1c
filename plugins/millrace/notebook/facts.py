"""What a run is: told by the control schema to a kernel, by the newest snapshot to an author."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from datetime import date, datetime
from typing import Any
from zoneinfo import ZoneInfo

from millrace.errors import UnknownName
from millrace.model import ProcessSpec, SourceFile, Stream
from millrace.plan import spec


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
    found = _spec(content, process_name)
    stream, process = found.stream, found.process
    day = data_date or _data_date(stream)
    return RunFacts(
        run_id=f"{process_name}__{day.isoformat()}__interactive",
        process_name=process_name,
        stream_name=stream.stream_name,
        data_date=day,
        question=stream.question or "",
        parameters={**(stream.parameters or {}), **(process.parameters or {})},
        source_file=found.source_file,
        **_models(vars(process)),
    )


def _spec(content: Mapping[str, Any], process_name: str) -> ProcessSpec:
    try:
        return spec(content, process_name)
    except UnknownName as unknown:
        entries = content["streams"].values()
        names = sorted(p["process_name"] for entry in entries for p in entry["processes"])
        cure = f"There are: {', '.join(names) or 'none'}."
        raise UnknownName(f"No process {process_name!r}.", cure=cure) from unknown


def _data_date(stream: Stream) -> date:
    if not stream.is_live and stream.data_date:
        return stream.data_date
    return datetime.now(ZoneInfo(stream.time_zone)).date()


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
