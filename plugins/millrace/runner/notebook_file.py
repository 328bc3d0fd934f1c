"""Finds and reads the notebook a row names: inside the notebooks folder, and nowhere else."""

from __future__ import annotations

import difflib
import json
import re
from itertools import islice
from pathlib import Path, PurePosixPath
from typing import Any

from millrace.errors import ContractError

FOLDER_NAME = "notebooks"
MAX_SIZE_BYTES = 50_000_000
MAX_LISTED = 5_000


def find_notebook(notebook_path: str, notebooks_dir: Path, *, where: str) -> Path:
    """The file that process.notebook_path means.

    A leading `notebooks/` is tolerated. ContractError where the path could leave the folder,
    by its own parts or through a symlink, or where no such file exists.
    """
    root = notebooks_dir.resolve()
    if problem := _path_problem(notebook_path):
        raise ContractError(
            f"{where}: notebook_path {notebook_path[:200]!r} {problem}.",
            cure="Give a path below the notebooks folder, like answer/recommend.ipynb.",
        )
    parts = PurePosixPath(notebook_path).parts
    tries = [parts, parts[1:]] if parts[0] == FOLDER_NAME and len(parts) > 1 else [parts]
    for candidate in tries:
        path = root.joinpath(*candidate)
        if path.is_file():
            return _inside(path, root, notebook_path, where)
    raise ContractError(
        f"{where}: notebook {notebook_path!r} does not exist in {root}.",
        cure=_suggestion(notebook_path, root),
    )


def read_notebook(path: Path, notebooks_dir: Path) -> dict[str, Any]:
    """The notebook's JSON, checked as far as running it needs; ContractError says what is wrong."""
    shown = path.relative_to(notebooks_dir.resolve()).as_posix()
    notebook = _parsed(path, shown)
    if problem := _notebook_problem(notebook):
        raise ContractError(
            f"{shown} is not a notebook that can run: {problem}.",
            cure="Open it in JupyterLab and save it again.",
        )
    if (language := _language(notebook)) != "python":
        raise ContractError(
            f"{shown} is written for a {language} kernel; only Python notebooks run here.",
            cure="Choose a Python kernel for it in JupyterLab and save it.",
        )
    return dict(notebook)


def _path_problem(path: str) -> str:
    rules = {
        "is empty": not path.strip(),
        "has a NUL or another control character": any(ord(c) < 32 for c in path),
        "has a scheme; only local files run": bool(re.match(r"[A-Za-z][A-Za-z0-9+.-]*:", path)),
        "has braces or a backslash": any(c in path for c in "{}\\"),
        "is absolute": path.startswith(("/", "~")),
        "has a '..' part": ".." in PurePosixPath(path).parts,
        "does not end in .ipynb": not path.endswith(".ipynb"),
        "is too long": len(path.encode("utf-8", "surrogatepass")) > 1000,
    }
    return next((rule for rule, applies in rules.items() if applies), "")


def _inside(path: Path, root: Path, notebook_path: str, where: str) -> Path:
    resolved = path.resolve()
    if not resolved.is_relative_to(root):
        raise ContractError(
            f"{where}: notebook_path {notebook_path!r} is a link that leaves the notebooks folder.",
            cure="Copy the notebook into the folder.",
        )
    return resolved


def _suggestion(notebook_path: str, root: Path) -> str:
    names = [p.relative_to(root).as_posix() for p in islice(root.rglob("*.ipynb"), MAX_LISTED)]
    close = difflib.get_close_matches(notebook_path.removeprefix("notebooks/"), names, n=1)
    same_name = [n for n in names if PurePosixPath(n).name == PurePosixPath(notebook_path).name]
    found = (same_name or close)[:1]
    hint = f"Did you mean {found[0]}? " if found else ""
    return f"{hint}Change process.notebook_path, or put the notebook there."


def _parsed(path: Path, shown: str) -> Any:
    try:
        if path.stat().st_size > MAX_SIZE_BYTES:
            raise ContractError(f"{shown} is over 50 MB.", cure="Clear its outputs and save it.")
        text = path.read_text(encoding="utf-8")
        return json.loads(text)
    except json.JSONDecodeError as exc:
        merged = " It has unresolved merge conflicts." if "<<<<<<< " in text else ""
        raise ContractError(
            f"{shown} is not valid JSON: {exc.msg} in line {exc.lineno}.{merged}",
            cure="Restore it from version control, or repair that line.",
        ) from exc
    except UnicodeDecodeError as exc:
        raise ContractError(f"{shown} is not UTF-8 text: {exc.reason}.") from exc
    except (OSError, RecursionError) as exc:
        raise ContractError(f"{shown} cannot be read: {exc}.") from exc


def _notebook_problem(notebook: Any) -> str:
    if not isinstance(notebook, dict) or not isinstance(notebook.get("cells"), list):
        return "its JSON has no list of cells"
    if notebook.get("nbformat") != 4:
        return f"its nbformat is {notebook.get('nbformat')!r}, not 4"
    if not isinstance(notebook.get("metadata", {}), dict):
        return "its metadata is not an object"
    for number, cell in enumerate(notebook["cells"], start=1):
        if problem := _cell_problem(cell):
            return f"cell {number} {problem}"
    return ""


def _cell_problem(cell: Any) -> str:
    if not isinstance(cell, dict):
        return "is not an object"
    if cell.get("cell_type") not in ("code", "markdown", "raw"):
        return f"has the unknown type {cell.get('cell_type')!r}"
    source = cell.get("source", "")
    is_lines = isinstance(source, list) and all(isinstance(line, str) for line in source)
    if not isinstance(source, str) and not is_lines:
        return "has a source that is not text"
    metadata = cell.get("metadata", {})
    if not isinstance(metadata, dict) or not isinstance(metadata.get("tags", []), list):
        return "has malformed metadata"
    return ""


def _language(notebook: dict[str, Any]) -> str:
    metadata = notebook.get("metadata", {})
    kernel, info = metadata.get("kernelspec"), metadata.get("language_info")
    named = (kernel or {}).get("language") if isinstance(kernel, dict | None) else None
    spoken = (info or {}).get("name") if isinstance(info, dict | None) else None
    return str(named or spoken or "python").lower()
