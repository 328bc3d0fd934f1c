"""A thousand bad rows: each disables its own stream, with a reason, and nothing else."""

from __future__ import annotations

import copy
import json
import random
from collections.abc import Mapping
from typing import Any

from millrace.plan import layout, make_plan
from millrace.plan.rules import is_name
from tests.control_rows import Tables, control_rows, house

SEED = 20261120
MUTATIONS = 1000
BAD_VALUES: list[Any] = [
    None,
    "",
    " ",
    "\0",
    "../../etc/passwd",
    "{x.__class__}",
    "'; DROP TABLE control.stream; --",
    "x" * 300,
    "é ñ",
    -1,
    0,
    10**30,
    1.5,
    float("nan"),
    float("inf"),
    True,
    False,
    [],
    [[]],
    {},
    {"a b": 1},
    {"x": float("nan")},
    {"x": {"y": b"z"}},
    b"bytes",
    "31 feb",
    "@daily",
    "R",
    "9999-99-99",
    "-0001-01-01",
    "Mars/Olympus",
    "../UTC",
]
KEYS = {
    "streams": "stream_name",
    "groups": "group_name",
    "processes": "process_name",
    "dependencies": "process_name",
    "source_files": "source_file",
    "schedules": "stream_name",
}


NAMES = {*KEYS.values(), "depends_on"}


def test_a_thousand_bad_rows_disable_their_own_streams_only() -> None:
    print(f"seed {SEED}")
    chance = random.Random(SEED)
    good = house(6)
    before = make_plan(control_rows(good), None)
    assert before.faults == {}
    disabled = 0
    for number in range(MUTATIONS):
        tables = copy.deepcopy(good)
        told = mutate(tables, chance)
        plan = make_plan(control_rows(tables), before.content)
        hit = str(good[told["table"]][told["place"]][KEYS[told["table"]]]).replace("f", "s")[:2]
        where = f"mutation {number} of seed {SEED}: {told}"
        assert set(plan.faults) <= {hit, str(told["value"])}, where
        for name, entry in before.content["streams"].items():
            if name != hit:
                assert dumped(plan.content["streams"][name]) == dumped(entry), where
        if hit in plan.faults:
            disabled += 1
            assert all(f.where and f.message and f.cure for f in plan.faults[hit]), where
            kept = {**plan.content["streams"][hit], "faults": []}
            assert dumped(kept) == dumped(before.content["streams"][hit]), where
        for entry in plan.content["streams"].values():
            layout(json.loads(dumped(entry)))
    print(f"{MUTATIONS} mutations, {disabled} streams disabled, 0 others touched")
    assert disabled > MUTATIONS / 2


def mutate(tables: Tables, chance: random.Random) -> dict[str, Any]:
    """Spoil one cell of one row; what was done, and to which stream."""
    table = chance.choice(list(tables))
    place = chance.randrange(len(tables[table]))
    row = tables[table][place]
    column = chance.choice(list(row))
    # A good name is a rename, which the database carries into the rows that point at it.
    values = [v for v in BAD_VALUES if column not in NAMES or not is_name(v)]
    row[column] = chance.choice(values)
    return {"table": table, "place": place, "column": column, "value": row[column]}


def dumped(entry: Mapping[str, Any]) -> str:
    """Canonical JSON; NaN and bytes in it are an error."""
    return json.dumps(entry, sort_keys=True, allow_nan=False)


def test_a_thousand_bad_rows_never_break_a_first_plan() -> None:
    chance = random.Random(SEED + 1)
    good = house(3)
    for _ in range(MUTATIONS):
        tables = copy.deepcopy(good)
        for _ in range(chance.randint(1, 5)):
            mutate(tables, chance)
        plan = make_plan(control_rows(tables, busy=["s0_p0", "s9_p9"]), None)
        again = make_plan(control_rows(tables), plan.content)
        assert dumped(again.content) == dumped(plan.content)
