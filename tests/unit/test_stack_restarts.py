"""When the supervisor starts a part again: growing pauses, forgotten once the part has settled."""

from __future__ import annotations

from pathlib import Path

import pytest

from millrace.stack import lock, restarts
from millrace.stack.restarts import LONGEST_PAUSE_S, SETTLED_AFTER_S, Restarts


def pauses(times: int, *, lives_s: float) -> list[float]:
    known, now, found = Restarts(), 1000.0, []
    for _ in range(times):
        noted = restarts.noticed(known, started_at=now - lives_s, now=now)
        assert noted.due_at is not None
        found.append(noted.due_at - now)
        known = restarts.started(noted)
    assert known.count == times
    return found


def test_a_part_that_keeps_dying_is_started_ever_later() -> None:
    assert pauses(9, lives_s=5) == [1, 2, 4, 8, 16, 32, LONGEST_PAUSE_S, 60, 60]


def test_a_part_that_had_settled_is_started_at_once() -> None:
    assert pauses(3, lives_s=SETTLED_AFTER_S + 1) == [1, 1, 1]


def test_a_death_that_was_noticed_before_keeps_its_time() -> None:
    first = restarts.noticed(Restarts(), started_at=0, now=10)
    assert restarts.noticed(first, started_at=0, now=10.5) == first


@pytest.mark.parametrize("text", ["", "{", "[1]", '{"scheduler": {"no": 1}}', '{"scheduler": 1}'])
def test_a_damaged_book_is_an_empty_one(tmp_path: Path, text: str) -> None:
    (tmp_path / "run").mkdir()
    restarts.write(tmp_path, {"scheduler": Restarts(2, 1)})
    assert restarts.read(tmp_path) == {"scheduler": Restarts(2, 1)}
    (tmp_path / "run" / "restarts.json").write_text(text)
    assert restarts.read(tmp_path) == {}
    restarts.forget(tmp_path)
    assert restarts.read(tmp_path) == {}


def test_a_turn_that_is_taken_is_not_waited_for(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    with lock.exclusive(tmp_path, lambda: None), lock.exclusive_if_free(tmp_path) as is_ours:
        assert not is_ours
    with lock.exclusive_if_free(tmp_path) as is_ours:
        assert is_ours
