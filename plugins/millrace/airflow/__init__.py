"""Rows to DAGs: the only room that imports Airflow (client.py, which speaks HTTP, excepted)."""
