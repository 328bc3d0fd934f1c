"""What people read on a DAG's own page: rows in words, and the reason of a fault."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from millrace.model import Process, ProcessGroup
from millrace.plan import StreamLayout


def stream_page(plan: StreamLayout, entry: Mapping[str, Any]) -> str:
    """Markdown of a stream DAG: faults first, then what it is and in which order it runs."""
    stream = plan.stream
    when = f"`{plan.schedule.cron}` ({stream.time_zone})" if plan.schedule else "when triggered"
    day = "the day of each run" if stream.is_live else f"pinned to {stream.data_date}"
    lines = [
        *_faults(entry),
        f"### {stream.stream_name}",
        stream.description,
        f"*{stream.question}*" if stream.question else "",
        f"Owner: {stream.owner}. Runs {when}. Data date: {day}.",
        _order(plan),
    ]
    return "\n\n".join(line for line in lines if line)


def process_page(process: Process, entry: Mapping[str, Any] | None = None) -> str:
    """Markdown of a process: its notebook, parameters, models and limits."""
    facts = {
        "notebook": process.notebook_path,
        "group": process.group_name,
        "parameters": json.dumps(dict(process.parameters)) if process.parameters else "",
        "model": process.gen_model,
        "embedding model": process.embed_model,
        "collection": process.collection,
        "timeout": f"{process.timeout_s} s, {process.retries} retries",
    }
    rows = [f"| {name} | `{value}` |" for name, value in facts.items() if value]
    table = "\n".join(["| | |", "|---|---|", *rows])
    needs = _needs(process, entry) if entry else ""
    return "\n\n".join(part for part in [*_faults(entry or {}), table, needs] if part)


def group_tip(group: ProcessGroup) -> str:
    """The tooltip of a group in the graph."""
    return f"priority {group.priority}, on failure: {group.on_failure}"


def _faults(entry: Mapping[str, Any]) -> list[str]:
    faults = entry.get("faults") or []
    if not faults:
        return []
    told = [f"- **{f['where']}**: {f['message']} {f.get('cure') or ''}" for f in faults]
    return ["**The rows have faults; this is the last good version.**", "\n".join(told)]


def _order(plan: StreamLayout) -> str:
    lines = []
    for number, level in enumerate(plan.levels, start=1):
        groups = ", ".join(
            f"**{g.group.group_name}** ({', '.join(p.process_name for step in g.levels for p in step.processes)})"
            for g in level.groups
        )
        lines.append(f"{number}. {groups}")
    return "\n".join(lines)


def _needs(process: Process, entry: Mapping[str, Any]) -> str:
    rows = [d for d in entry["dependencies"] if d["process_name"] == process.process_name]
    told = [d["depends_on"] + ("" if d.get("is_active", True) else " (inactive)") for d in rows]
    return "Needs first: " + ", ".join(told) if told else ""
