"""The tree of errors. A message says what went wrong, where, and what to do about it.

MillraceError
|-- SettingsError            a setting is missing or malformed
|-- ControlError
|   |-- ControlUnavailable   the control database does not answer in time
|   |-- UnknownName          no such stream, process, run or snapshot
|   |-- StaleFence           another attempt has taken this run over
|   `-- AlreadyRunning       the process run has a live attempt elsewhere
|-- ContractError            a row and its notebook do not fit each other
|-- NotebookFailed           a cell raised, hung, ran out of memory, or the kernel died
|-- LakeError
|   `-- ObjectNotFound       no object under that key
|-- VectorsError             a collection cannot be read or written
|-- ModelError
|   |-- ModelMissing         no backend has the model
|   |-- RequestRefused       the backend cannot answer this request as it stands
|   |-- BackendUnavailable   no backend answers
|   |   `-- BackendTimeout   a backend stopped answering
|   `-- BadAnswer            the model's answer is cut, empty or not what the schema asks
|-- AirflowError             Airflow's API does not answer, or refuses
`-- StackError               a part of the embedded stack did not start or stop
    `-- PortTaken            something else listens on a port that a part needs
"""

from __future__ import annotations


class MillraceError(Exception):
    """Something went wrong in Millrace.

    The docstring of each subclass is its default message. HTTP doors and the command line
    turn the tree into status codes and exit codes in one place each.
    """

    def __init__(self, message: str | None = None, *, cure: str | None = None) -> None:
        self.message = message or (type(self).__doc__ or "").strip().splitlines()[0]
        self.cure = cure
        super().__init__(f"{self.message} {cure}" if cure else self.message)


class SettingsError(MillraceError):
    """A setting is missing or malformed."""


class ControlError(MillraceError):
    """The control tables refused the operation."""


class ControlUnavailable(ControlError):
    """The control database does not answer; see `millrace status`."""


class UnknownName(ControlError):
    """No such stream, process, run or snapshot; see `millrace streams`."""


class StaleFence(ControlError):
    """Another attempt has taken this process run over; nothing more is written by this one."""


class AlreadyRunning(ControlError):
    """The process run has a live attempt in another DAG run."""


class ContractError(MillraceError):
    """The process's row and its notebook do not fit each other; see `millrace check`."""


class NotebookFailed(MillraceError):
    """The notebook did not finish."""

    def __init__(
        self,
        message: str | None = None,
        *,
        cell: int | None = None,
        executed_notebook_uri: str | None = None,
        cure: str | None = None,
    ) -> None:
        super().__init__(message, cure=cure)
        self.cell = cell
        self.executed_notebook_uri = executed_notebook_uri


class LakeError(MillraceError):
    """The lake refused the operation."""


class ObjectNotFound(LakeError):
    """No object under that key in the lake."""


class VectorsError(MillraceError):
    """The vector store refused the operation."""


class ModelError(MillraceError):
    """The model could not answer."""


class ModelMissing(ModelError):
    """No backend has the model; `millrace status` lists those that are there."""


class BackendUnavailable(ModelError):
    """No model backend answers; see `millrace status`."""


class BackendTimeout(BackendUnavailable):
    """The model backend stopped answering."""


class RequestRefused(ModelError):
    """The backend cannot answer this request as it stands."""


class BadAnswer(ModelError):
    """The model's answer is cut short, empty, or does not fit the schema."""


class AirflowError(MillraceError):
    """Airflow's API does not answer, or refuses; see `millrace status`."""


class StackError(MillraceError):
    """A part of the embedded stack did not start or stop."""


class PortTaken(StackError):
    """Something else listens on a port that the stack needs."""
