"""`open_run()`: one value that holds what a notebook needs, in production and in JupyterLab."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import date
from functools import cached_property
from typing import Any

from millrace.control.postgres import PostgresControl
from millrace.errors import ContractError, SettingsError
from millrace.lake import open_lake
from millrace.lake.manifest import Writer
from millrace.model import SourceFile
from millrace.notebook.client import GatewayAddress
from millrace.notebook.collection import RunCollection
from millrace.notebook.facts import RunFacts, interactive_facts, production_facts
from millrace.notebook.ingest import IngestReport, ingest
from millrace.notebook.llm import Llm
from millrace.notebook.record import KernelRecord, RunRecord, ScratchRecord
from millrace.notebook.runlake import RunLake
from millrace.settings import Settings
from millrace.vectors import open_collections

TOKEN = "MILLRACE_RUN_TOKEN"


@dataclass(frozen=True, eq=False)
class Run:
    """A process run as its notebook sees it. Made by `open_run`."""

    facts: RunFacts
    settings: Settings
    record: RunRecord
    is_interactive: bool

    @property
    def run_id(self) -> str:
        """The attempt's id in control.run_log; made up when interactive."""
        return self.facts.run_id

    @property
    def process(self) -> str:
        """The process's name."""
        return self.facts.process_name

    @property
    def stream(self) -> str:
        """The stream's name."""
        return self.facts.stream_name

    @property
    def data_date(self) -> date:
        """The calendar day whose data the run works on."""
        return self.facts.data_date

    @property
    def generation(self) -> int:
        """The generation of the stream run; 1 when interactive."""
        return self.facts.generation

    @property
    def attempt(self) -> int:
        """Which try at the process run this is, from 1."""
        return self.facts.attempt

    @property
    def parameters(self) -> Mapping[str, Any]:
        """The stream's parameters, and over them the process's."""
        return self.facts.parameters

    @property
    def question(self) -> str:
        """The stream's question."""
        return self.facts.question

    @property
    def source_file(self) -> SourceFile | None:
        """How to read the process's source documents, where it has any."""
        return self.facts.source_file

    @property
    def gen_model(self) -> str:
        """The process's model for answers; '' is the gateway's default."""
        return self.facts.gen_model or self.settings.model

    @property
    def embed_model(self) -> str:
        """The process's model for vectors; '' is the gateway's default."""
        return self.facts.embed_model or self.settings.embed_model

    @property
    def collection_name(self) -> str:
        """The process's collection; '' where it has none."""
        return self.facts.collection

    @cached_property
    def lake(self) -> RunLake:
        """The objects this run reads and writes."""
        facts = self.facts
        writer = Writer(facts.run_id, facts.generation, facts.fence, self.record.assert_fence)
        names = {
            "data_date": facts.data_date.isoformat(),
            "generation": facts.generation,
            "process": facts.process_name,
            "stream": facts.stream_name,
        }
        lake = open_lake(self.settings.lake_url)
        return RunLake(lake, writer, names, interactive=self.is_interactive)

    @cached_property
    def llm(self) -> Llm:
        """The models, through the gateway."""
        return Llm(
            GatewayAddress(self.settings.gateway_url, self.settings.gateway_key),
            self.record,
            gen_model=self.gen_model,
            embed_model=self.embed_model,
            interactive=self.is_interactive,
        )

    def collection(self, name: str | None = None) -> RunCollection:
        """A collection by name; the process's own one without. ContractError if it has none."""
        chosen = name or self.collection_name
        if not chosen:
            raise ContractError(
                f"Process {self.process!r} has no collection.",
                cure="Set control.process.collection, or name one: run.collection('catalogue').",
            )
        return RunCollection(
            chosen,
            open_collections(self.settings.vectors_url),
            self.llm,
            token=self.record.token,
            interactive=self.is_interactive,
        )

    def ingest(
        self,
        *,
        text: str | None = None,
        collection: str | None = None,
        source_file: SourceFile | None = None,
    ) -> IngestReport:
        """Make the collection hold what the documents of the process's source_file row hold now.

        `text` is a template over the columns for rows of csv, json, jsonl and parquet. Only new
        texts are embedded; what vanished is deleted in the same step.
        """
        source = source_file or self.source_file
        if source is None:
            raise ContractError(
                f"Process {self.process!r} has no source file.",
                cure="Set control.process.source_file, or pass source_file=SourceFile(...).",
            )
        return ingest(self.lake, self.collection(collection), source, text=text)

    def finish(self, *, source_rows: int | None = None, target_rows: int | None = None) -> None:
        """Record how many rows came in and went out; StaleFence when the run was taken over."""
        self.record.finish(source_rows, target_rows)

    def __repr__(self) -> str:
        kind = "interactive" if self.is_interactive else f"attempt {self.attempt}"
        return f"<Run of {self.process} for {self.data_date}, {kind}>"


def open_run(
    run_id: str | None = None,
    *,
    process: str | None = None,
    data_date: date | str | None = None,
) -> Run:
    """The run that this notebook works for.

    Under Airflow it is the attempt that started the kernel. In JupyterLab name a process, and
    a data date if it is not today: the newest control rows are used, what is written goes under
    `scratch/`, and nothing is logged.

    Raises ContractError without a process, UnknownName for one that is not there, StaleFence
    when another attempt has taken the run over, SettingsError when no stack is configured.
    """
    token = os.environ.get(TOKEN)
    settings = Settings.load()
    if token:
        return _production(settings, token, run_id)
    if not process:
        raise ContractError(
            "Outside of a run, open_run needs to know which process to be.",
            cure='Write open_run(process="recommend", data_date="2026-11-20").',
        )
    return _interactive(settings, process, _as_date(data_date))


def _production(settings: Settings, token: str, run_id: str | None) -> Run:
    record = KernelRecord(settings.kernel_database_url, token)
    facts = production_facts(record.run())
    if run_id and run_id != facts.run_id:
        raise ContractError(
            f"The notebook names run {run_id!r}, but its kernel works for {facts.run_id!r}.",
            cure="Pass the injected parameter: open_run(run_id).",
        )
    return Run(facts, settings, record, is_interactive=False)


def _interactive(settings: Settings, process: str, data_date: date | None) -> Run:
    database_url = settings.author_database_url or settings.database_url
    if not database_url:
        raise SettingsError(
            "No control database is configured.", cure="Start the stack: millrace up."
        )
    content = PostgresControl(database_url).load_snapshot().content
    facts = interactive_facts(content, process, data_date)
    return Run(facts, _as_author(settings), ScratchRecord(), is_interactive=True)


def _as_author(settings: Settings) -> Settings:
    """Collections in the control database are reached with the author's role, not the owner's."""
    if settings.author_database_url and settings.vectors_url == settings.database_url:
        return replace(settings, vectors_url=settings.author_database_url)
    return settings


def _as_date(given: date | str | None) -> date | None:
    if given is None or isinstance(given, date):
        return given
    try:
        return date.fromisoformat(given)
    except ValueError as exc:
        raise ContractError(f"data_date={given!r} is no date.", cure="Write 2026-11-20.") from exc
