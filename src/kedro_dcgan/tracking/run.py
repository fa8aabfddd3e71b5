"""The run under way: what it has to tell goes into its journal and is sent from there."""

import contextlib
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from kedro_dcgan.errors import DcganError, TrackingError
from kedro_dcgan.tracking.journal import Journal, RunIdentity
from kedro_dcgan.tracking.settings import TrackingSettings
from kedro_dcgan.tracking.system_metrics import SystemMetrics
from kedro_dcgan.tracking.uploader import Sender

logger = logging.getLogger(__name__)

# Another command may look whether the run was killed.
_PATIENCE = 10.0


class TrackedRun:
    """A run that is open: nothing that it is told waits for MLflow, and nothing that goes wrong here ends it.

    Raises:
        DiskFullError: if there is no room for its journal, at the start.
        TrackingError: if another process writes it.
    """

    def __init__(self, settings: TrackingSettings, identity: RunIdentity, watch_system: bool = False) -> None:
        mark_killed(settings.journals)
        self._identity = identity
        self._journal = Journal.of(settings.journals, identity)
        self._held = contextlib.ExitStack()
        if not self._held.enter_context(self._journal.written(_PATIENCE)):
            raise TrackingError(f"`{self._journal.folder}` must be free (another process writes it). End that.")
        self._sender = Sender(self._journal, settings)
        self._has_warned = self._is_closed = False
        self.last_step, self._last_picture = map(self._journal.last_step, ("is_history", "is_picture"))
        self._tell_status("RUNNING")
        self._sender.start()
        self._system: SystemMetrics | None = None
        if watch_system and settings.system_metrics_seconds > 0:
            first = 1 + self._journal.last_step("is_of_system")
            self._system = SystemMetrics(self._tell, first, settings.system_metrics_seconds)
            self._system.start()

    @property
    def key(self) -> str:
        """The run's key."""
        return self._identity.key

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
            is_told = self._tell("metrics", step=images_seen, values=dict(values), is_history=True)
            self.last_step = images_seen if is_told else self.last_step

    def log_dataset(self, name: str, digest: str, source: str, tags: Mapping[str, str]) -> None:
        """Log the images that the run trains on: the UI shows them, and finds runs by them."""
        self._tell("dataset", name=name, digest=digest, source=source, tags=dict(tags))

    def log_picture(self, path: Path, key: str, images_seen: int) -> None:
        """Log a picture of a moment, unless the run has it already; the UI has a slider over the steps of a key."""
        if images_seen > self._last_picture:
            is_told = self._tell("picture", [path], key=key, step=images_seen, is_picture=True)
            self._last_picture = images_seen if is_told else self._last_picture

    def log_file(self, path: Path, folder: str = "reports") -> None:
        """Log a file."""
        self._tell("file", [path], folder=folder)

    def register_generator(self, parts: Sequence[Path], name: str) -> None:
        """Register the generator that export has made (a folder `generator`), and what belongs to it."""
        self._tell("generator", parts, name=name)

    def close(self, status: str) -> None:
        """End the run with FINISHED, FAILED or KILLED; say what MLflow has answered, or that it has not."""
        with self._held:
            self._tell_status(status)
            if self._system:
                self._system.finish()
            self._is_closed = True
            is_sent = self._sender.finish()
        for answer in self._sender.answers:
            logger.info("%s", answer)
        if not is_sent:
            logger.warning("Records of this run wait in %s: send them with kedro dcgan sync.", self._journal.folder)

    def _tell_status(self, status: str) -> None:
        # Measuring a generator neither begins its training anew nor ends it.
        if not self._identity.must_exist:
            self._tell("status", status=status)

    def _tell(self, kind: str, files: Sequence[Path] = (), **values: Any) -> bool:
        # Return whether it is in the journal.
        if self._is_closed:
            return False
        try:
            self._journal.add(kind, files, **values)
        except (OSError, DcganError) as error:
            if not self._has_warned:
                logger.warning("%s is not told to MLflow (%s). The run goes on.", kind.capitalize(), error)
            self._has_warned = True
            return False
        self._sender.notify()
        return True


def mark_killed(journals: Path) -> None:
    """Write into the journals of runs whose processes are gone without a word that they were killed."""
    for journal in Journal.all_in(journals):
        # It can be written another time.
        with contextlib.suppress(OSError, DcganError):
            journal.mark_killed()
