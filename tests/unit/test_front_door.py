"""What `import millrace` gives, and what it costs."""

from __future__ import annotations

import subprocess
import sys

import pytest

import millrace


def test_open_run_is_at_the_front_door() -> None:
    from millrace.notebook.run import open_run

    assert millrace.open_run is open_run
    assert set(millrace.__all__) == {"Run", "__version__", "open_run"}
    with pytest.raises(AttributeError, match="no attribute 'close_run'"):
        _ = millrace.close_run


def test_importing_the_package_loads_nothing_heavy() -> None:
    """The gateway and every Airflow task import it too."""
    code = (
        "import millrace, sys; print(sorted({'pandas', 'aiohttp', 'psycopg2'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
