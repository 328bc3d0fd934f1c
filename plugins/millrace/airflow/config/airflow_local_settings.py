"""Loaded by Airflow's scheduler alone: forked tasks then have for free what they all need."""

import contextlib

with contextlib.suppress(ImportError):
    # An install without notebooks (a scheduler of its own) has no papermill, and needs none.
    import papermill  # noqa: F401

    import millrace.runner  # noqa: F401
