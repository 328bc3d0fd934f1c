"""The contract between a process's row and its notebook, checked before anything runs.

A notebook declares what it takes in its first cell tagged `parameters`; the row gives values;
the platform gives its own where the notebook declares them. Nothing here executes a notebook,
and nothing here is slow to import: `millrace check` asks the same questions.
"""

from __future__ import annotations

import keyword
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from millrace.errors import ContractError
from millrace.model import Attempt, ProcessSpec, SourceFile
from millrace.plan import Fault
from millrace.redaction import looks_secret
from millrace.runner.declaration import (
    Declaration,
    Declared,
    cell_source,
    declared_in,
    json_fault,
    type_name,
)
from millrace.runner.notebook_file import find_notebook, read_notebook

FREE_TEXT = "nb_parm"
"""The one key of process.parameters that a notebook need not declare: the compatibility views fill it."""

PLATFORM_NAMES = frozenset(
    {
        *("run_id", "process_name", "stream_name", "data_date", "generation"),
        *("question", "embed_model", "gen_model", "collection", "source_file"),
        *("file_type", "delimiter", "chunk_size", "chunk_overlap", "lake_prefix"),
    }
)


@dataclass(frozen=True)
class Contract:
    """A notebook that fits its row, and the values to inject into it."""

    path: Path
    notebook: Mapping[str, Any]
    values: Mapping[str, Any]

    @property
    def program(self) -> str:
        """All that the notebook's cells say."""
        return "\n".join(cell_source(cell) for cell in self.notebook["cells"])


def agree(spec: ProcessSpec, notebooks_dir: Path, platform: Mapping[str, Any]) -> Contract:
    """The contract of one run; ContractError lists every fault."""
    path = find_notebook(spec.process.notebook_path, notebooks_dir, where=_where(spec))
    notebook = read_notebook(path, notebooks_dir)
    declaration = declared_in(notebook, shown=_shown(path, notebooks_dir))
    faults = list(_faults(spec, declaration, platform))
    if faults:
        raise ContractError("\n".join(f"{f.where}: {f.message} {f.cure}" for f in faults))
    return Contract(path, notebook, chosen_values(spec, declaration, platform))


def check_notebook(spec: ProcessSpec, notebooks_dir: Path) -> list[Fault]:
    """What a run of the process would be refused for, without running it; [] when it fits."""
    platform = platform_values(spec, _SPECIMEN)
    try:
        path = find_notebook(spec.process.notebook_path, notebooks_dir, where=_where(spec))
        notebook = read_notebook(path, notebooks_dir)
        declaration = declared_in(notebook, shown=_shown(path, notebooks_dir))
    except ContractError as exc:
        return [Fault(_where(spec), exc.message, exc.cure or "")]
    return list(_faults(spec, declaration, platform))


def platform_values(spec: ProcessSpec, run: Mapping[str, Any]) -> dict[str, Any]:
    """What the platform offers a notebook: names to JSON values, None where a row leaves it open."""
    process, source = spec.process, spec.source_file
    return {
        **run,
        "process_name": process.process_name,
        "stream_name": spec.stream.stream_name,
        "question": spec.stream.question,
        "embed_model": process.embed_model,
        "gen_model": process.gen_model,
        "collection": process.collection,
        **(_source_values(source) if source else {}),
    }


def run_values(attempt: Attempt) -> dict[str, Any]:
    """The part of the platform values that differs from run to run."""
    return {
        "run_id": attempt.run_id,
        "data_date": attempt.identity.data_date.isoformat(),
        "generation": attempt.identity.generation,
    }


def chosen_values(
    spec: ProcessSpec, declaration: Declaration, platform: Mapping[str, Any]
) -> dict[str, Any]:
    """What is injected: of platform, stream and process the last that speaks, where declared.

    A platform value the rows leave open (None) leaves the notebook's default alone.
    """
    given = {name: value for name, value in platform.items() if value is not None}
    offered = {**given, **spec.stream.parameters, **spec.process.parameters}
    return {name: offered[name] for name in declaration.parameters if name in offered}


_SPECIMEN: Mapping[str, Any] = {"run_id": "r", "data_date": "2000-01-01", "generation": 1}


def _faults(
    spec: ProcessSpec, declaration: Declaration, platform: Mapping[str, Any]
) -> Iterator[Fault]:
    rows = ((_where(spec), spec.process.parameters), (_stream(spec), spec.stream.parameters))
    for where, parameters in rows:
        for name, value in parameters.items():
            yield from _value_faults(where, name, value)
    yield from _undeclared(spec, declaration)
    yield from _misfits(spec, declaration, platform)
    for fault in declaration.faults:
        yield Fault(declaration.shown, *fault)


def _value_faults(where: str, name: str, value: Any) -> Iterator[Fault]:
    if not name.isidentifier() or keyword.iskeyword(name):
        yield Fault(where, f"parameter {name[:80]!r} is not a Python name.", "Rename it.")
    if name in PLATFORM_NAMES:
        yield Fault(
            where,
            f"parameter {name} is a value that the platform gives.",
            "Remove it from parameters: it comes from the run and from the row's own columns.",
        )
    if problem := json_fault(value):
        yield Fault(where, f"parameter {name} {problem}.", "Give a JSON value.")
    elif looks_secret(name, value):
        yield Fault(
            where,
            f"parameter {name} holds a secret; secrets are never parameters.",
            "Remove it from the row, and change the secret: rows are kept in every snapshot.",
        )


def _undeclared(spec: ProcessSpec, declaration: Declaration) -> Iterator[Fault]:
    for name in spec.process.parameters:
        if name in declaration.parameters or name == FREE_TEXT or name in PLATFORM_NAMES:
            continue
        known = ", ".join(sorted(declaration.parameters)) or "nothing"
        yield Fault(
            _where(spec),
            f"parameter {name[:80]} is not declared by {declaration.shown} (it declares {known}).",
            "Remove it from process.parameters, or declare it in the notebook's parameters cell.",
        )


def _misfits(
    spec: ProcessSpec, declaration: Declaration, platform: Mapping[str, Any]
) -> Iterator[Fault]:
    values = chosen_values(spec, declaration, platform)
    for name, declared in declaration.parameters.items():
        where, cure = _origin(spec, name)
        if name not in values:
            yield from _missing(where, declared, declaration.shown)
        elif not declared.accepts(values[name]):
            given = _quoted(name, values[name])
            yield Fault(
                where,
                f"parameter {name} must be {declared.expected}, not {given} ({declaration.shown}).",
                cure,
            )


def _missing(where: str, declared: Declared, shown: str) -> Iterator[Fault]:
    if declared.is_required:
        yield Fault(
            where,
            f"parameter {declared.name} has no value: {shown} declares it without a default.",
            "Give it in process.parameters, or give it a default in the notebook.",
        )


def _origin(spec: ProcessSpec, name: str) -> tuple[str, str]:
    if name in spec.process.parameters:
        return _where(spec), f"Change process.parameters->'{name}', or the notebook's declaration."
    if name in spec.stream.parameters:
        return _stream(spec), f"Change stream.parameters->'{name}', or the notebook's declaration."
    return _where(spec), "Change the notebook's declaration: the platform gives this value."


def _quoted(name: str, value: Any) -> str:
    shown = "..." if looks_secret(name, value) else repr(value)
    return f"{type_name(value)} {shown if len(shown) <= 60 else shown[:57] + '...'}"


def _source_values(source: SourceFile) -> dict[str, Any]:
    return {
        "source_file": source.source_file,
        "file_type": source.file_type,
        "delimiter": source.delimiter,
        "chunk_size": source.chunk_size,
        "chunk_overlap": source.chunk_overlap,
        "lake_prefix": source.lake_prefix,
    }


def _where(spec: ProcessSpec) -> str:
    return f"process {spec.process.process_name}"


def _stream(spec: ProcessSpec) -> str:
    return f"stream {spec.stream.stream_name}"


def _shown(path: Path, notebooks_dir: Path) -> str:
    return path.relative_to(notebooks_dir.resolve()).as_posix()
