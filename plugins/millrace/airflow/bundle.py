"""The control tables as a versioned DAG bundle: a row is a DAG about a second after its INSERT.

Parsing reads local JSON and never the database, so an outage cannot hide a DAG; a read that
fails, or finds the tables empty, is never a deletion (plan.py decides).
"""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Mapping
from contextlib import suppress
from functools import cached_property
from pathlib import Path
from typing import Any

from airflow.dag_processing.bundles.base import BaseDagBundle, BundleVersion

# dagbuild is not used here: the processor forks a child per file, which then has it loaded.
from millrace.airflow import bundle_files, dagbuild  # noqa: F401
from millrace.airflow.pools import ensure_pools
from millrace.control import open_control
from millrace.control.base import ControlStore, Snapshot
from millrace.errors import ControlError, UnknownName
from millrace.model import ControlRows
from millrace.plan import make_plan
from millrace.plan.make import version_of
from millrace.settings import Settings

log = logging.getLogger(__name__)

PAUSE_S = 0.4
"""Between two reads. The processor's loop runs once a second when idle and far more often while
it parses; its own intervals are whole seconds, and would skip every other second by a hair."""
VERSIONS_KEPT = 50
VERSION_PATTERN = re.compile("[0-9a-f]{16}")


class ControlBundle(BaseDagBundle):
    """A BaseDagBundle over schema `control`: one file pair per stream.

    A version is laid out when a task first asks for it, from control.snapshot.
    """

    supports_versioning = True

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._content: dict[str, Any] | None = None
        self._rows_seen: ControlRows | None = None
        self._complaint = ""
        self._read_at = 0.0

    @cached_property
    def _settings(self) -> Settings:
        return Settings.load()

    @cached_property
    def _store(self) -> ControlStore:
        return open_control(self._settings.database_url)

    @property
    def _templates(self) -> Path:
        return self._settings.project_dir / "dags"

    @property
    def _version_file(self) -> Path:
        return Path(self.base_dir) / "VERSION"

    @property
    def _newest(self) -> Path:
        return Path(self.base_dir) / "current"

    @property
    def _spare(self) -> Path:
        """A second copy of the newest content, should the first be damaged."""
        return Path(self.base_dir) / "spare"

    @property
    def path(self) -> Path:
        """The folder Airflow parses: a version's for a task, the current one for the processor."""
        if self.version:
            return Path(self.versions_dir) / self.version
        return self._newest

    def initialize(self) -> None:
        """Have the folder there: a missing version is rebuilt from its snapshot, on any machine."""
        if self.version is None:
            self._mend()
        elif not bundle_files.is_whole(self.path):
            bundle_files.lay_out_version(
                Path(self.versions_dir),
                self.version,
                self._content_of(self.version),
                self._templates,
            )
        super().initialize()

    def _content_of(self, version: str) -> Mapping[str, Any]:
        """A version's content: the newest one's lies here, and needs no database."""
        kept = filter(None, map(bundle_files.read_content, (self._newest, self._spare)))
        found = (content for content in kept if version_of(content) == version)
        return next(found, None) or self._store.load_snapshot(version).content

    def _mend(self) -> None:
        """Lay the last good content out again: files may have been damaged while nobody looked."""
        self.path.mkdir(parents=True, exist_ok=True)
        kept = map(bundle_files.read_content, (self.path, self._spare))
        self._content = next(filter(None, kept), None)
        if self._content is not None:
            bundle_files.lay_out(self.path, self._content, self._templates)

    def get_current_version(self) -> BundleVersion | None:
        """The control version that `path` shows."""
        if self.version:
            return BundleVersion(self.version)
        with suppress(OSError, UnicodeError):
            text = self._version_file.read_text()
            return BundleVersion(text) if VERSION_PATTERN.fullmatch(text) else None
        return None

    def refresh(self) -> None:
        """Read the rows, keep a snapshot, touch the files that changed.

        The processor's loop waits for this: every step that asks the database gives up after two
        seconds, and the bundle's lock is held for file work alone.
        """
        if time.monotonic() - self._read_at < PAUSE_S:
            return
        self._read_at = time.monotonic()
        try:
            rows = self._store.read_rows()
            self._complain("")
            if rows == self._rows_seen:
                return
            plan = make_plan(rows, self._last_good())
            if {plan.control_version, rows.latest_version} == {self._laid_out_version()}:
                self._rows_seen = rows
                return
            self._store.save_snapshot(Snapshot(plan.control_version, plan.content))
        except ControlError as exc:
            self._complain(str(exc))
            return
        ensure_pools(plan.content)
        self._publish(plan.control_version, dict(plan.content))

    def _publish(self, version: str, content: dict[str, Any]) -> None:
        with self.lock():
            changed = bundle_files.lay_out(self.path, content, self._templates)
            bundle_files.write_content(self._spare, content)
            scratch = self._version_file.with_suffix(".tmp")
            scratch.write_text(version)
            scratch.replace(self._version_file)
            bundle_files.prune_versions(Path(self.versions_dir), keep=VERSIONS_KEPT)
        self._content = content
        log.info(
            "Control version laid out",
            extra={"action": "publish", "version": version, "streams": changed},
        )

    def _laid_out_version(self) -> str | None:
        """The version whose files are known to be whole; None where they were found damaged."""
        current = self.get_current_version()
        return current.version if current and self._content is not None else None

    def _last_good(self) -> dict[str, Any] | None:
        """What is laid out now; the newest snapshot where the local copy is absent or damaged."""
        if self._content is not None:
            return self._content
        with suppress(UnknownName):
            return dict(self._store.load_snapshot().content)
        return None

    def _complain(self, text: str) -> None:
        # Once per change of mind, not once a second.
        if text and text != self._complaint:
            log.warning("The last good DAGs stay as they are: %s", text, extra={"action": "hold"})
        self._complaint = text
