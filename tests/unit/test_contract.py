"""What a row and its notebook must agree on, without running anything."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from millrace.errors import ContractError
from millrace.model import SourceFile
from millrace.runner import check_notebook
from millrace.runner.contract import agree, platform_values
from tests.notebooks.workplace import Workplace, row

RUN = {"run_id": "r1", "data_date": "2026-11-20", "generation": 2}


@pytest.fixture
def place(tmp_path: Path) -> Workplace:
    return Workplace(tmp_path)


def injected(place: Workplace, declared: str, **columns: Any) -> dict[str, Any]:
    """The values a notebook with that parameters cell gets from a row."""
    place.write("step.ipynb", parameters=declared)
    spec = row(**columns)
    return dict(agree(spec, place.notebooks, platform_values(spec, RUN)).values)


def fault(place: Workplace, declared: str, **columns: Any) -> str:
    """The one fault of a row with a notebook with that parameters cell."""
    place.write("step.ipynb", parameters=declared)
    (found,) = check_notebook(row(**columns), place.notebooks)
    return f"{found.where}: {found.message} {found.cure}"


def test_platform_values_come_only_where_declared(place: Workplace) -> None:
    declared = "run_id: str = ''\ndata_date: str = ''\ngeneration: int = 1\nquestion: str = ''"

    assert injected(place, declared) == {
        "run_id": "r1",
        "data_date": "2026-11-20",
        "generation": 2,
        "question": "What sells?",
    }
    assert injected(place, "top_k: int = 5") == {}


def test_the_source_file_speaks_where_there_is_one(place: Workplace) -> None:
    declared = "file_type: str = 'csv'\nchunk_size: int = 1\ndelimiter: str = ';'"
    source = SourceFile("catalogue", "pdf", chunk_size=300)

    assert injected(place, declared, source_file=source) == {"file_type": "pdf", "chunk_size": 300}
    assert injected(place, declared) == {}


def test_the_process_speaks_louder_than_its_stream(place: Workplace) -> None:
    values = injected(
        place,
        "top_k: int = 5\nstyle: str = ''\nnb_parm: str = ''",
        parameters={"top_k": 7, "nb_parm": "a|b|c"},
        stream_parameters={"top_k": 6, "style": "short", "other": 1},
    )

    assert values == {"top_k": 7, "style": "short", "nb_parm": "a|b|c"}


def test_free_text_need_not_be_declared(place: Workplace) -> None:
    assert injected(place, "", parameters={"nb_parm": "a|b|c"}) == {}


@pytest.mark.parametrize(
    ("declared", "value"),
    [
        ("x: int = 1", 5),
        ("x: float = 1.0", 5),
        ("x: Optional[int] = None", None),
        ("x: int | None = 3", None),
        ("x: 'str | None' = None", "a"),
        ("x: Union[int, str] = 1", "a"),
        ("x: list[str] = []", ["a"]),
        ("x: dict[str, int] = {}", {"a": 1}),
        ("x: typing.Any = 1", [1]),
        ("x: Literal['a', 'b'] = 'a'", "b"),
        ("x: str", "given"),
        ("x = 5", 2.5),
        ("x = 5", None),
        ("x = compute()", {"any": "thing"}),
    ],
)
def test_a_value_that_fits(place: Workplace, declared: str, value: Any) -> None:
    assert injected(place, declared, parameters={"x": value}) == {"x": value}


@pytest.mark.parametrize(
    ("declared", "value", "words"),
    [
        ("x: int = 1", "5", "must be int, not str '5'"),
        ("x: int = 1", 2.5, "must be int, not float 2.5"),
        ("x: int = 1", True, "must be int, not bool True"),
        ("x: int = 1", None, "must be int, not None"),
        ("x: str | None = ''", 3, "must be str or None, not int 3"),
        ("x: list = []", {"a": 1}, "must be list, not dict"),
        ("x = 'text'", 5, "must be str or None, not int 5"),
    ],
)
def test_a_value_of_the_wrong_type(place: Workplace, declared: str, value: Any, words: str) -> None:
    told = fault(place, declared, parameters={"x": value})

    assert told.startswith("process recommend: parameter x ")
    assert words in told
    assert "step.ipynb" in told
    assert "process.parameters->'x'" in told


def test_a_wrong_type_of_the_stream_names_the_stream(place: Workplace) -> None:
    told = fault(place, "x: int = 1", stream_parameters={"x": "no"})

    assert told.startswith("stream shop: parameter x must be int")
    assert "stream.parameters->'x'" in told


@pytest.mark.parametrize(
    ("declared", "columns", "words"),
    [
        ("", {"parameters": {"top_k": 1}}, "parameter top_k is not declared by step.ipynb"),
        ("a = 1", {"parameters": {"b": 1}}, "(it declares a)"),
        ("x: str", {}, "parameter x has no value"),
        ("run_id = ''", {"parameters": {"run_id": "x"}}, "a value that the platform gives"),
        ("run_id: int = 0", {}, "parameter run_id must be int, not str"),
        ("x: int = 'a'", {}, "declared int, but its default is str 'a'"),
        ("x: date = None", {}, "declared date, which is not a JSON type"),
        ("x = 1", {"parameters": {"x": float("nan")}}, "is not a finite number"),
    ],
)
def test_other_faults(place: Workplace, declared: str, columns: dict[str, Any], words: str) -> None:
    assert words in fault(place, declared, **columns)


@pytest.mark.parametrize("name", ["a b", "x=1;import os", "class", "1x", "x\n"])
def test_a_parameter_must_be_a_name(place: Workplace, name: str) -> None:
    place.write("step.ipynb")

    found = check_notebook(row(parameters={name: 1}), place.notebooks)

    assert "is not a Python name" in found[0].message


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("api_key", "planted-9f8e7d"),
        ("url", "postgres://joe:planted-9f8e7d@db"),
        ("options", {"password": "planted-9f8e7d"}),
    ],
)
def test_a_secret_is_refused_without_showing_it(place: Workplace, name: str, value: Any) -> None:
    told = fault(place, f"{name} = None", parameters={name: value})

    assert "secrets are never parameters" in told
    assert "planted" not in told


def test_a_secret_of_the_wrong_type_is_not_shown_either(place: Workplace) -> None:
    place.write("step.ipynb", parameters="api_key: int = 1")

    found = check_notebook(row(parameters={"api_key": "planted-9f8e7d"}), place.notebooks)

    assert "planted" not in str(found)


def test_every_fault_is_told_at_once(place: Workplace) -> None:
    place.write("step.ipynb", parameters="a: int = 1\nb: str")
    spec = row(parameters={"a": "x", "c": 1})

    with pytest.raises(ContractError) as told:
        agree(spec, place.notebooks, platform_values(spec, RUN))

    assert [word in str(told.value) for word in ("parameter a", "parameter b", "parameter c")] == [
        True
    ] * 3


def test_the_cell_is_read_and_never_run(place: Workplace) -> None:
    mark = place.folder / "ran"
    declared = f"x: int = 1\nopen({str(mark)!r}, 'w')\n__import__('os').abort()"

    assert injected(place, declared, parameters={"x": 2}) == {"x": 2}
    assert not mark.exists()


@pytest.mark.parametrize(
    ("cell", "words"),
    [
        ("%matplotlib inline", "not plain Python"),
        ("x = (", "not plain Python"),
        ("x = '\0'", "not"),
    ],
)
def test_a_cell_that_cannot_be_read(place: Workplace, cell: str, words: str) -> None:
    assert words in fault(place, cell)


def test_no_parameters_cell(place: Workplace) -> None:
    place.write("step.ipynb", "x = 1", parameters=None)

    (found,) = check_notebook(row(), place.notebooks)

    assert found.message == "step.ipynb has no parameters cell."
    assert "Tag its first code cell `parameters`" in found.cure


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('{"cells": [\n1,\n}', "is not valid JSON: Expecting value in line 3"),
        ("{\n<<<<<<< HEAD\n}", "unresolved merge conflicts"),
        ("[]", "its JSON has no list of cells"),
        ('{"cells": [], "nbformat": 3}', "its nbformat is 3, not 4"),
        ('{"cells": [5], "nbformat": 4}', "cell 1 is not an object"),
        (
            '{"cells": [{"cell_type": "code", "source": 5}], "nbformat": 4}',
            "source that is not text",
        ),
        (
            '{"cells": [], "nbformat": 4, "metadata": {"kernelspec": {"language": "R"}}}',
            "written for a r kernel",
        ),
        ("\udcff", "is not UTF-8"),
        ('{"cells": ' + "[" * 100_000, "cannot be read"),
    ],
)
def test_a_file_that_is_no_notebook(place: Workplace, text: str, words: str) -> None:
    place.write_text("step.ipynb", "").write_bytes(text.encode("utf-8", "surrogateescape"))

    (found,) = check_notebook(row(), place.notebooks)

    assert words in found.message


@pytest.mark.parametrize(
    "path",
    [
        "",
        "../outside.ipynb",
        "a/../../outside.ipynb",
        "/etc/passwd.ipynb",
        "~/x.ipynb",
        "http://example.org/x.ipynb",
        "s3://bucket/x.ipynb",
        "file:x.ipynb",
        "{x.__class__}.ipynb",
        "a\0.ipynb",
        "a\n.ipynb",
        "a\\b.ipynb",
        "step.py",
        "x" * 2000 + ".ipynb",
    ],
)
def test_a_path_that_is_refused(place: Workplace, path: str) -> None:
    place.write("../outside.ipynb")

    (found,) = check_notebook(row(path), place.notebooks)

    assert found.message.startswith("process recommend: notebook_path")


def test_a_link_that_leaves_the_folder(place: Workplace) -> None:
    outside = place.write("../outside.ipynb")
    (place.notebooks / "link.ipynb").symlink_to(outside)
    (place.notebooks / "way").symlink_to(place.folder)
    place.write("inside.ipynb")
    (place.notebooks / "fine.ipynb").symlink_to(place.notebooks / "inside.ipynb")

    for path in ("link.ipynb", "way/outside.ipynb"):
        (found,) = check_notebook(row(path), place.notebooks)
        assert "leaves the notebooks folder" in found.message
    assert check_notebook(row("fine.ipynb"), place.notebooks) == []


def test_a_missing_notebook_is_told_with_its_neighbour(place: Workplace) -> None:
    place.write("answer/recommend.ipynb")

    for path in ("answer/recomend.ipynb", "recommend.ipynb", "notebooks/answers/recommend.ipynb"):
        (found,) = check_notebook(row(path), place.notebooks)
        assert "does not exist" in found.message
        assert "Did you mean answer/recommend.ipynb?" in found.cure


def test_the_folders_own_name_is_tolerated(place: Workplace) -> None:
    place.write("answer/recommend.ipynb")

    assert check_notebook(row("notebooks/answer/recommend.ipynb"), place.notebooks) == []


def test_sources_may_be_lists_of_lines(place: Workplace) -> None:
    cell = {
        "cell_type": "code",
        "source": ["x: int = 1\n", "y: str = ''"],
        "metadata": {"tags": ["parameters"]},
    }
    place.write_text("step.ipynb", json.dumps({"cells": [cell], "nbformat": 4, "metadata": {}}))

    assert check_notebook(row(parameters={"x": 1, "y": "a"}), place.notebooks) == []
