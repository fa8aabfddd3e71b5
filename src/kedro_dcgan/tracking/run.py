"""The run under way: what it has to tell goes into its journal and is sent from there."""

import contextlib
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from kedro_dcgan.errors import DcganError
from kedro_dcgan.tracking.journal import Journal, RunIdentity
from kedro_dcgan.tracking.sender import Sender
from kedro_dcgan.tracking.settings import TrackingSettings
from kedro_dcgan.tracking.system import SystemMetrics

logger = logging.getLogger(__name__)

_open: list["TrackedRun"] = []


class TrackedRun:
    """A run that is open: nothing that it is told waits for MLflow."""

    def __init__(self, settings: TrackingSettings, identity: RunIdentity, watch_system: bool = False) -> None:
        self._settings = settings
        mark_killed(settings.journals)
        self._journal = Journal.of(settings.journals, identity.key)
        self._journal.begin(identity)
        self._held = contextlib.ExitStack()
        self._held.enter_context(self._journal.written())
        self._sender = Sender(self._journal, settings)
        self._system = SystemMetrics(self._journal, settings.system_metrics_seconds)
        self.last_step = self._journal.last_step()
        self._tell("status", status="RUNNING")
        _open.append(self)
        self._sender.start()
        self._is_watched = watch_system and settings.system_metrics_seconds > 0
        if self._is_watched:
            self._system.start()

    @property
    def key(self) -> str:
        """The run's key."""
        return self._journal.identity.key

    def log_parameters(self, values: Mapping[str, Any]) -> None:
        """Log flat parameters. What the run says already stays."""
        self._tell("parameters", values=dict(values))

    def log_tags(self, values: Mapping[str, str]) -> None:
        """Log tags."""
        self._tell("tags", values=dict(values))

    def log_metrics(self, values: Mapping[str, float], images_seen: int) -> None:
        """Log numbers."""
        self._tell("metrics", step=images_seen, values=dict(values))

    def log_history(self, values: Mapping[str, float], images_seen: int) -> None:
        """Log the numbers of a tick, unless the run has them already."""
        if images_seen > self.last_step:
            self._tell("metrics", step=images_seen, values=dict(values), is_history=True)
            self.last_step = images_seen

    def log_dataset(self, name: str, digest: str, source: str, tags: Mapping[str, str]) -> None:
        """Log the images that the run trains on: the UI shows them, and finds runs by them."""
        self._tell("dataset", name=name, digest=digest, source=source, tags=dict(tags))

    def log_picture(self, path: Path, key: str, images_seen: int) -> None:
        """Log a picture of a moment; the UI shows those of a key with a slider over steps."""
        self._tell("picture", file=self._journal.keep(path), key=key, step=images_seen)

    def log_file(self, path: Path, folder: str = "reports") -> None:
        """Log a file."""
        self._tell("file", file=self._journal.keep(path), folder=folder)

    def register_generator(self, parts: Sequence[Path], name: str) -> None:
        """Register the generator that export has made (a folder `generator`), and what belongs to it."""
        self._tell("generator", file=self._journal.keep(*parts), name=name)

    def close(self, status: str) -> None:
        """End the run with FINISHED, FAILED or KILLED; say what MLflow has answered, or that it has not."""
        _open.remove(self)
        if self._is_watched:
            self._system.finish()
        try:
            self._tell("status", status=status)
        except (OSError, DcganError) as error:
            # The run may have ended because the disk is full: that is what is to be said.
            logger.warning("The end of this run is not in its journal (%s).", error)
        is_sent = self._sender.finish()
        self._held.close()
        for answer in self._journal.take_answers(self._settings.shown_server):
            logger.info("%s", answer)
        if not is_sent:
            logger.warning("Records of this run wait in %s: send them with kedro dcgan sync.", self._journal.folder)

    def _tell(self, kind: str, **values: Any) -> None:
        self._journal.add(kind, **values)
        self._sender.notify()


def close_open_run(status: str) -> None:
    """End the run that is open, if one is: for whoever does not know it."""
    for run in tuple(_open):
        run.close(status)


def mark_killed(journals: Path) -> None:
    """Write into the journals of runs whose processes are gone without a word that they were killed."""
    for journal in Journal.all_in(journals):
        last = journal.last_record()
        if last and last.get("status", "RUNNING") == "RUNNING":
            with journal.written() as is_free:
                if is_free:
                    journal.add("status", status="KILLED", time=last["time"])
