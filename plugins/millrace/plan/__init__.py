"""Rows -> Plan: pure decisions about what runs, stream by stream, with a reason for what does not.

`make_plan` judges the rows and writes the content of a snapshot; `layout` and `spec` read one
stream's entry and one process out of such a content.
"""

from __future__ import annotations

from millrace.plan.faults import Fault
from millrace.plan.make import EMPTY, Plan, make_plan
from millrace.plan.reading import (
    GroupLayout,
    GroupLevel,
    ProcessLevel,
    StreamLayout,
    layout,
    spec,
)

__all__ = [
    "EMPTY",
    "Fault",
    "GroupLayout",
    "GroupLevel",
    "Plan",
    "ProcessLevel",
    "StreamLayout",
    "layout",
    "make_plan",
    "spec",
]
