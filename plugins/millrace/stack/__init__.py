"""The embedded stack: starts and stops Postgres, gateway, Airflow and JupyterLab on one machine."""
