"""Loaded by Airflow's scheduler alone: what every task needs, so that forked tasks have it for free."""

import contextlib

with contextlib.suppress(ImportError):
    # An install without notebooks (a scheduler of its own) has no papermill, and needs none.
    import papermill

    import millrace.runner
