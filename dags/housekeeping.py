"""Airflow DAG that keeps the house: closes attempts whose task is gone, drops old snapshots and logs."""

from datetime import UTC, datetime, timedelta

from airflow.sdk import DAG, task

from millrace.airflow import housekeeping

with DAG(
    dag_id="millrace_housekeeping",
    description="Closes attempts whose task is gone, every minute; drops what is past its time.",
    schedule=timedelta(minutes=1),
    start_date=datetime(2024, 1, 1, tzinfo=UTC),
    catchup=False,
    # A killed run must not hold the next one up: it is given up after five minutes.
    max_active_runs=2,
    dagrun_timeout=timedelta(minutes=5),
    is_paused_upon_creation=False,
    tags=["millrace"],
) as dag:

    @task(execution_timeout=timedelta(minutes=4))
    def watchdog() -> None:
        """Close lost attempts; tell the streams' targets."""
        housekeeping.watch()

    @task(execution_timeout=timedelta(minutes=4), trigger_rule="all_done")
    def retention() -> None:
        """Drop snapshots that no run refers to."""
        housekeeping.retain()

    watchdog() >> retention()
