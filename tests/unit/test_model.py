"""Names and run ids."""

from __future__ import annotations

from datetime import date

import pytest

from millrace.model import NAME_PATTERN, RunIdentity


@pytest.mark.parametrize("name", ["a", "A.b-c_9", "x" * 200, "..a", "-"])
def test_names_that_are_taken(name: str) -> None:
    assert NAME_PATTERN.match(name)


@pytest.mark.parametrize("name", ["", ".", "..", "a b", "a/b", "é", "a\n", "x" * 201])
def test_names_that_are_refused(name: str) -> None:
    assert not NAME_PATTERN.match(name)


@pytest.mark.parametrize("name", ["p", "a__b", "p__2026-01-01__g3", "x-1.y"])
def test_a_run_id_reads_back_as_its_identity(name: str) -> None:
    identity = RunIdentity(name, date(2026, 11, 20), 12)
    assert RunIdentity.parse(identity.run_id) == identity


@pytest.mark.parametrize(
    "run_id",
    ["manual__2026-11-20T10:00:00+00:00", "p__2026-13-40__g1", "p__2026-11-20", "", "__g1"],
)
def test_other_run_ids_are_no_identity(run_id: str) -> None:
    assert RunIdentity.parse(run_id) is None
