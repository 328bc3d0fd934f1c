"""Airflow's settings in the embedded stack, as one table of environment variables.

Every value has its reason; those marked "measured" come from experiments with Airflow 3.3.
"""

from __future__ import annotations

import json
from pathlib import Path

from millrace.settings import Settings
from millrace.stack.airflow_secrets import AirflowSecrets

BUNDLE = {
    "name": "control",
    "classpath": "millrace.airflow.bundle.ControlBundle",
    "kwargs": {"refresh_interval": 0},
}
"""The control tables as the only source of DAGs."""

FIXED = {
    "CORE__EXECUTOR": ("LocalExecutor", "tasks are processes of this machine"),
    "CORE__LOAD_EXAMPLES": ("False", "only the control tables make DAGs"),
    "CORE__DAGS_ARE_PAUSED_AT_CREATION": ("False", "an inserted stream runs without a click"),
    "CORE__MIN_SERIALIZED_DAG_UPDATE_INTERVAL": ("0", "else an update within 30 s is dropped"),
    "CORE__RERUN_WITH_LATEST_VERSION": ("True", "a cleared task runs what the rows say now"),
    "CORE__SIMPLE_AUTH_MANAGER_USERS": ("admin:admin", "one user; the password is generated"),
    "CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS": ("False", "it would let calls without a token in"),
    "CORE__HOSTNAME_CALLABLE": ("socket.gethostname", "the default asks the name server"),
    "API__HOST": ("127.0.0.1", "nothing is reachable from outside"),
    "API__WORKERS": ("1", "one person's UI; each worker is 200 MB"),
    "API__EXPOSE_CONFIG": ("False", "the configuration holds passwords"),
    "API__WORKER_TIMEOUT": ("30", "how long a stop waits for open browser connections"),
    "DATABASE__CHECK_MIGRATIONS": ("False", "`millrace up` migrates before it starts them"),
    "WORKERS__MIN_HEARTBEAT_INTERVAL": ("1", "measured: else deferred tasks are lost at random"),
    "SCHEDULER__SCHEDULER_IDLE_SLEEP_TIME": ("0.2", "measured: the same, and 2 x faster runs"),
    "SCHEDULER__SCHEDULER_HEALTH_CHECK_THRESHOLD": ("15", "a dead scheduler's tasks are free then"),
    "SCHEDULER__ORPHANED_TASKS_CHECK_INTERVAL": ("10", "and are taken up within this, not 300 s"),
    "SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": ("60", "a killed task is retried after this"),
    "SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT_DETECTION_INTERVAL": ("5", "looked for this often"),
    "TRIGGERER__TRIGGERER_HEALTH_CHECK_THRESHOLD": ("15", "a dead triggerer's waits are free then"),
    "SCHEDULER__ENABLE_HEALTH_CHECK": ("False", "would listen on a port of its own"),
    "DAG_PROCESSOR__BUNDLE_REFRESH_CHECK_INTERVAL": ("0", "each loop; the bundle paces itself"),
    "DAG_PROCESSOR__REFRESH_INTERVAL": ("0", "the same"),
    "DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL": ("86400", "a file is parsed when it changes"),
    "DAG_PROCESSOR__PRINT_STATS_INTERVAL": ("600", "else the log is mostly statistics"),
    "LOGGING__COLORED_CONSOLE_LOG": ("False", "the output goes to files"),
    "LOGGING__NAMESPACE_LEVELS": (
        "airflow.dag_processing.manager.DagFileProcessorManager=WARNING,http.access=WARNING",
        "else a line for every look at the bundle and every heartbeat of a task",
    ),
    "METRICS__STATSD_ON": ("False", "nothing reports home"),
    "USAGE_DATA_COLLECTION__ENABLED": ("False", "nothing reports home"),
}
"""The same on every machine: option -> (value, reason)."""


def variables(settings: Settings, keys: AirflowSecrets) -> dict[str, str]:
    """AIRFLOW_HOME and every AIRFLOW__SECTION__OPTION of this stack."""
    fixed = {name: value for name, (value, _) in FIXED.items()}
    named = {f"AIRFLOW__{name}": value for name, value in (fixed | _own(settings, keys)).items()}
    return {"AIRFLOW_HOME": str(home(settings)), **named}


def home(settings: Settings) -> Path:
    """AIRFLOW_HOME of this stack."""
    return settings.home / "airflow"


def passwords_path(settings: Settings) -> Path:
    """The simple auth manager's file: {user: password}, mode 600."""
    return home(settings) / "passwords.json"


def _own(settings: Settings, keys: AirflowSecrets) -> dict[str, str]:
    url = settings.airflow_database_url.removeprefix("postgresql://")
    return {
        "CORE__PARALLELISM": str(settings.parallelism),
        "CORE__PLUGINS_FOLDER": str(settings.project_dir / "plugins"),
        "CORE__DAGS_FOLDER": str(home(settings) / "dags"),  # empty: the bundle is the only source
        "CORE__FERNET_KEY": keys.fernet_key,
        "CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": str(passwords_path(settings)),
        "CORE__EXECUTION_API_SERVER_URL": f"http://127.0.0.1:{settings.airflow_port}/execution/",
        "API__PORT": str(settings.airflow_port),
        "API__BASE_URL": settings.airflow_url,
        "API__SECRET_KEY": keys.secret_key,
        "API_AUTH__JWT_SECRET": keys.jwt_secret,
        # Airflow needs the drivers spelled out, and both of them.
        "DATABASE__SQL_ALCHEMY_CONN": f"postgresql+psycopg2://{url}",
        "DATABASE__SQL_ALCHEMY_CONN_ASYNC": f"postgresql+asyncpg://{url}",
        "DAG_PROCESSOR__DAG_BUNDLE_CONFIG_LIST": json.dumps([BUNDLE]),
        # Private to this stack: the default lies in the shared temporary folder.
        "DAG_PROCESSOR__DAG_BUNDLE_STORAGE_PATH": str(home(settings) / "bundles"),
        "LOGGING__BASE_LOG_FOLDER": str(home(settings) / "logs"),
        "LOGGING__DAG_PROCESSOR_CHILD_PROCESS_LOG_DIRECTORY": str(
            home(settings) / "logs" / "dag_processor"
        ),
    }
