"""Rows as Airflow shows them: seen, changed, gone; faulty ones contained."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest

from tests.house import Group, House


@pytest.fixture(scope="module")
def quick(house: House) -> str:
    return house.notebook("rows/quick.ipynb", "print('hello')")


def test_an_insert_is_a_dag_an_update_is_seen_a_delete_is_gone(house: House, quick: str) -> None:
    house.stream("coming", {"coming.g": Group({"coming.p": 0})}, notebook=quick, description="one")
    house.until(lambda: house.is_triggerable("stream__coming"), "the stream is a DAG", 10)
    house.until(lambda: house.is_triggerable("process__coming.p"), "the process is a DAG", 10)
    house.sql("UPDATE control.stream SET description = 'two' WHERE stream_name = 'coming'")
    house.until(lambda: _shown(house, "coming", "description") == "two", "the update is seen", 10)
    house.sql(
        "DELETE FROM control.process WHERE process_name = 'coming.p';"
        "DELETE FROM control.process_group WHERE group_name = 'coming.g';"
        "DELETE FROM control.stream WHERE stream_name = 'coming';"
    )
    house.until(lambda: not house.is_triggerable("stream__coming"), "the stream is gone", 10)
    house.until(lambda: not house.is_triggerable("process__coming.p"), "the process is gone", 10)


def _shown(house: House, stream: str, field: str) -> str:
    return str((house.airflow.dag(f"stream__{stream}") or {}).get(field))


def test_owner_tags_and_docs_come_from_the_rows(house: House, quick: str) -> None:
    house.stream(
        "described", {"described.g": Group({"described.p": 0})}, notebook=quick,
        owner="dora", description="What it is for", question="Which one?",
    )  # fmt: skip
    house.until(lambda: house.is_triggerable("stream__described"), "the stream is a DAG")
    dag = house.airflow.get("/dags/stream__described/details")
    assert dag["owners"] == ["dora"]
    assert {tag["name"] for tag in dag["tags"]} == {"stream", "described"}
    assert dag["description"] == "What it is for"
    assert "Which one?" in dag["doc_md"]
    assert {"data_date", "rerun"} <= set(dag["params"])
    assert "described.p" in house.task_ids("stream__described")


def test_a_faulty_stream_keeps_its_last_good_version_and_says_why(house: House, quick: str) -> None:
    house.stream("spoilt", {"spoilt.g": Group({"spoilt.p": 0})}, notebook=quick)
    house.stream("bystander", {"bystander.g": Group({"bystander.p": 0})}, notebook=quick)
    house.until(lambda: house.is_triggerable("stream__spoilt"), "the stream is a DAG")
    house.sql(
        "UPDATE control.process SET notebook_path = '../../etc/passwd'"
        " WHERE process_name = 'spoilt.p'"
    )
    page = "/dags/stream__spoilt/details"
    house.until(lambda: "faults" in str(house.airflow.get(page)["doc_md"]), "the page says why")
    assert "spoilt.p" in house.airflow.get(page)["doc_md"]
    assert "faults" not in str(house.airflow.get("/dags/stream__bystander/details")["doc_md"])
    # The last good version still runs, with the notebook it had.
    assert house.run("spoilt") == "success"
    assert house.run("bystander") == "success"


def test_a_stream_without_processes_has_no_dag_and_inactive_rows_have_none(
    house: House, quick: str
) -> None:
    house.stream("empty", {"empty.g": Group({})}, notebook=quick)
    house.stream("asleep", {"asleep.g": Group({"asleep.p": 0})}, notebook=quick, is_active=False)
    house.stream(
        "half", {"half.g": Group({"half.on": 0, "half.off": {"is_active": False}})}, notebook=quick
    )
    house.until(lambda: house.is_triggerable("stream__half"), "the stream is a DAG")
    for dag_id in ("stream__empty", "stream__asleep", "process__asleep.p", "process__half.off"):
        assert not house.is_triggerable(dag_id)
    assert "half.off" not in house.task_ids("stream__half")


def test_a_script_for_the_old_tables_runs_unchanged(house: House) -> None:
    house.notebook(
        "rows/legacy.ipynb",
        "bucket, prefix, name = nb_parm.split('|')\nprint(bucket, prefix, name, question)",
        'nb_parm: str = ""\nquestion: str = ""',
    )
    house.sql((Path(__file__).parent / "legacy_script.sql").read_text())
    assert house.run("legacy_orders") == "success"
    assert house.log("legacy_load")[-1]["status"] == "success"
    assert house.log("legacy_report")[-1]["started_at"] > house.log("legacy_load")[-1]["ended_at"]
    log = house.sql("SELECT * FROM cntl_af.cntl_cfg_log WHERE prcs_nm LIKE 'legacy%%'")
    assert {(row["prcs_nm"], row["status"]) for row in log} == {
        ("legacy_load", 0),
        ("legacy_report", 0),
    }


def test_the_old_tables_take_updates_and_deletes(house: House, quick: str) -> None:
    house.stream("old_hand", {"old_hand.g": Group({"old_hand.p": 0})}, notebook=quick)
    house.until(lambda: house.is_triggerable("stream__old_hand"), "the stream is a DAG")
    house.sql("UPDATE cntl_af.cntl_cfg_strem SET act_f = 0 WHERE strem_nm = 'old_hand'")
    house.until(lambda: not house.is_triggerable("stream__old_hand"), "the stream is inactive")
    house.sql(
        "DELETE FROM cntl_af.cntl_cfg_prcs WHERE prcs_nm = 'old_hand.p';"
        "DELETE FROM cntl_af.cntl_cfg_prcs_grp WHERE prcs_grp = 'old_hand.g';"
        "DELETE FROM cntl_af.cntl_cfg_strem WHERE strem_nm = 'old_hand';"
    )
    assert house.sql("SELECT 1 FROM control.stream WHERE stream_name = 'old_hand'") == []


def test_an_update_during_a_slow_parse_is_not_lost(house: House, quick: str) -> None:
    groups = {f"busy.g{g}": Group({f"busy.p{g}.{p}": 0 for p in range(20)}) for g in range(10)}
    house.stream("busy", groups, notebook=quick)
    house.until(lambda: house.is_triggerable("stream__busy"), "the stream is a DAG")
    # 200 processes take long enough to parse that these land in the middle of it.
    for number in range(6):
        house.sql(
            "UPDATE control.stream SET description = %s WHERE stream_name = 'busy'", f"v{number}"
        )
        house.until(partial(_has_told, house, number), f"update {number} is laid out", 10)
    house.until(lambda: _shown(house, "busy", "description") == "v5", "the last update is seen", 30)


def _has_told(house: House, number: int) -> bool:
    [row] = house.sql(
        "SELECT content->'streams'->'busy'->'stream'->>'description' AS told"
        " FROM control.snapshot ORDER BY taken_at DESC LIMIT 1"
    )
    return bool(row["told"] == f"v{number}")
