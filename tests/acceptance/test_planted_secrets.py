"""Planted secrets are found in the lake, the logs and the databases 0 times, on a real stack.

Five kinds, in parameters, in the environment of whoever starts the stack, in what cells print and
show, in an exception, and in what is asked of a model. A harmless marker goes the same ways first.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from millrace.stack import postgres
from tests.house import Group, House
from tests.planted import KEY_LINE, SECRETS, TELLING, spellings
from tests.searching import Finding, Needles, in_database, in_files

MARKER = "harmless-marker-7f3a"
NEEDLES: Needles = {kind: spellings(text) for kind, text in TELLING.items()}

CREDENTIALS = (
    # The stack's own secrets, each kept in a file that only its owner can read.
    *("settings.env", "postgres-superuser.password"),
    *("airflow/passwords.json", "airflow/secrets.json", "jupyter/runtime"),
)
DATABASE_FILES = "postgres"
"""Not searched as bytes: its tables are, row by row."""

WHERE_THE_USER_PUT_IT = {
    *("control.process.parameters", "control.stream.parameters"),
    *("control.change_log.before", "control.change_log.after"),
}
"""The row a person wrote a secret into, and the log of who wrote what."""

SHOWN = """
import base64, os, sys
from IPython.display import HTML, JSON, Markdown, display
from millrace import open_run

run = open_run(run_id)
# %%
print(everything); print(*bare, sep="\\n"); print(*bare, sep="\\n", file=sys.stderr)
for kind, secret in everything.items():
    text, half = f"{kind} = {secret!r}\\n", len(secret) // 2 + len(kind) + 4
    sys.stdout.write(text[:half]); sys.stdout.flush(); sys.stdout.write(text[half:])
print(dict(os.environ))
# %%
display(HTML(f"<b title='{everything}'>shown</b>"), JSON({"deep": [everything]}))
display(Markdown(f"`{everything}`"))
everything
# %%
answer = run.llm.chat(f"Context: {everything}\\nQuestion: what is written here?")
print(answer)
run.finish(source_rows=1, target_rows=1)
"""
RAISED = """
# %%
def connect(options):
    raise ConnectionError(f"cannot reach the shop with {options} and {dict(os.environ)}")
connect(everything)
"""
SPELT_OUT = (
    "everything = {planted!r}\nbare = list(everything.values())\n"
    + SHOWN
    + "# %%\nprint(*(base64.b64encode(f'x {s} x'.encode()).decode() for s in bare))\n"
)
# A password that nothing calls one, and that nobody knows, is a word like any other.
FETCHED = (
    "import json\neverything = json.load(open({path!r}))\n"
    "bare = [secret for kind, secret in everything.items() if kind != 'password']\n" + SHOWN
)


@pytest.fixture(scope="module", params=["spelt_out", "fetched"])
def program(request: pytest.FixtureRequest) -> str:
    """A notebook that holds its secrets, and one that gets them from elsewhere."""
    return str(request.param)


def written(house: House, program: str, planted: dict[str, str], folder: Path, tag: str) -> str:
    """The notebook with these secrets; its path as a row gives it."""
    path = folder / f"{tag}.json"
    path.write_text(json.dumps(planted))
    template = SPELT_OUT if program == "spelt_out" else FETCHED
    source = template.replace("{planted!r}", repr(planted)).replace("{path!r}", repr(str(path)))
    return house.notebook(f"planted/{program}_{tag}.ipynb", source + RAISED, "run_id: str = ''")


def run_it(house: House, name: str, notebook: str) -> None:
    """Run a stream of that one notebook, which fails in its last cell."""
    house.stream(name, {f"{name}_g": Group({f"{name}_p": {"retries": 1, "retry_delay_s": 1}})},
                 notebook=notebook, notify="OPS")  # fmt: skip
    assert house.run(name) == "failed"
    [*_, last] = house.log(f"{name}_p")
    assert "ConnectionError: cannot reach the shop" in last["message"]


def everywhere(house: House, needles: Needles) -> set[Finding]:
    """Findings in every file of the home and every column of both databases."""
    found = in_files(house.settings.home, needles, skip=(*CREDENTIALS, DATABASE_FILES))
    for name in ("millrace", "airflow"):
        found |= in_database(postgres.superuser_url(house.settings, name), needles)
    return found


def test_the_search_finds_a_marker_in_each_of_the_places(
    house: House, program: str, tmp_path: Path, inbox: list[dict[str, Any]]
) -> None:
    name = f"marked_{program}"
    harmless = {f"word {number}": MARKER for number in range(len(SECRETS))}
    run_it(house, name, written(house, program, harmless, tmp_path, "marker"))
    places = {f.place for f in everywhere(house, {"marker": spellings(MARKER)})}
    told = "\n".join(sorted(places))
    for part in ("notebook.ipynb", "notebook.html", f"dag_id=process__{name}_p"):
        assert part in told
    for column in ("control.run_log.message", "control.process_run.message"):
        assert column in places
    assert any(MARKER in json.dumps(message) for message in inbox)


def test_the_search_finds_a_marker_in_a_parameter(house: House) -> None:
    house.notebook("planted/greeting.ipynb", "print(greeting)", 'greeting: str = ""')
    process = {"marked_parameter_p": {"parameters": {"greeting": MARKER}}}
    house.stream("marked_parameter", {"marked_parameter_g": Group(process)},
                 notebook="planted/greeting.ipynb")  # fmt: skip
    assert house.run("marked_parameter") == "success"
    places = {f.place for f in everywhere(house, {"marker": spellings(MARKER)})}
    assert {*WHERE_THE_USER_PUT_IT, "control.snapshot.content"} - places <= {
        "control.stream.parameters",
        "control.change_log.before",
    }
    assert any(place.startswith("public.serialized_dag.") for place in places)
    assert any(place.startswith("airflow/bundles/") for place in places)


def test_secrets_in_output_traceback_prompt_and_environment_are_found_nowhere(
    house: House, program: str, tmp_path: Path, inbox: list[dict[str, Any]]
) -> None:
    run_it(house, f"planted_{program}", written(house, program, SECRETS, tmp_path, "secret"))
    assert everywhere(house, NEEDLES) == set()
    assert not [m for m in inbox if any(text in json.dumps(m) for text in TELLING.values())]


@pytest.mark.parametrize("kind", sorted(SECRETS))
def test_secrets_in_parameters_are_refused_and_stay_in_their_row(house: House, kind: str) -> None:
    name = f"holding_{kind.lower().replace(' ', '_')}"
    house.notebook("planted/greeting.ipynb", "print(greeting)", 'greeting: str = ""')
    parameter = (
        {"db_password": SECRETS[kind]} if kind == "password" else {"greeting": SECRETS[kind]}
    )
    house.stream(name, {f"{name}_g": Group({f"{name}_p": {"parameters": parameter}})},
                 notebook="planted/greeting.ipynb", parameters=parameter)  # fmt: skip
    told = house.until(lambda: refusal(house, name), "the plan refuses the stream")
    assert "secrets are never parameters" in told
    assert not house.is_triggerable(f"stream__{name}")
    places = {f.place for f in everywhere(house, {kind: NEEDLES[kind]})}
    assert places <= WHERE_THE_USER_PUT_IT
    assert "control.process.parameters" in places
    house.sql("DELETE FROM control.process WHERE process_name = %s", f"{name}_p")
    house.sql("DELETE FROM control.process_group WHERE stream_name = %s", name)
    house.sql("DELETE FROM control.stream WHERE stream_name = %s", name)
    house.sql("DELETE FROM control.change_log WHERE row_key::text LIKE %s", f"%{name}%")


def refusal(house: House, stream: str) -> str:
    """Why the latest snapshot does not hold the stream; '' where it has no word about it."""
    [row] = house.sql("SELECT content FROM control.snapshot ORDER BY taken_at DESC LIMIT 1")
    content = row["content"]
    return json.dumps(content["refused"][stream]) if stream in content["refused"] else ""


def test_the_stacks_own_secrets_are_in_their_files_alone(house: House) -> None:
    own = {f"secret {n}": spellings(s) for n, s in enumerate(house.settings.secrets())}
    assert len(own) >= 6
    assert everywhere(house, own) == set()
    kept = in_files(house.settings.home, own, skip=(DATABASE_FILES,))
    assert {finding.needle for finding in kept} >= {"secret 0", "secret 1", "secret 2"}


def test_the_spellings_find_base64_at_every_offset() -> None:
    import base64

    for before in ("", "x", "xy", "xyz"):
        encoded = base64.b64encode(f"{before}{KEY_LINE} and more".encode())
        assert any(part in encoded for part in spellings(KEY_LINE)[1:])
