"""Loaded by Airflow's scheduler alone: what every task needs, so that forked tasks have it for free."""

import contextlib
import sys

# papermill would load pyarrow for HDFS alone: 35 MB in the scheduler, which no task uses.
sys.modules.setdefault("pyarrow", None)  # type: ignore[arg-type]
with contextlib.suppress(ImportError):
    # An install without notebooks (a scheduler of its own) has no papermill, and needs none.

    pass
if sys.modules["pyarrow"] is None:
    del sys.modules["pyarrow"]
