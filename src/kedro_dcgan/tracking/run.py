"""The open run, as hooks see it: each record goes to the journal, from which a thread uploads it."""

import contextlib
import itertools
import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kedro_dcgan.errors import DcganError, TrackingError
from kedro_dcgan.tracking.connection import TrackingSettings
from kedro_dcgan.tracking.journal import Journal, RunIdentity, milliseconds
from kedro_dcgan.tracking.uploader import Uploader

if TYPE_CHECKING:
    import pandas as pd

logger = logging.getLogger(__name__)

# Seconds. Another command may hold the lock while it checks whether the run was killed.
_LOCK_TIMEOUT = 10.0


class TrackedRun:
    """An open run. It never waits for MLflow, and a failure to track something does not stop the training.

    If another process writes the journal, opening the run raises TrackingError.
    """

    def __init__(self, settings: TrackingSettings, identity: RunIdentity) -> None:
        mark_killed_runs(settings.journals)
        self._identity, self._journal = identity, Journal.create(settings.journals, identity)
        self._lock = contextlib.ExitStack()
        if not self._lock.enter_context(self._journal.lock("writing", _LOCK_TIMEOUT)):
            folder = self._journal.folder
            raise TrackingError(f"`{folder}` must not be in use (another process writes it). Stop that process first.")
        self._has_warned = self._is_closed = False
        self.last_step, self._last_image_step = map(self._journal.last_step, ("is_history", "is_picture"))
        self._uploader = Uploader(self._journal, settings)
        self._system_metrics: SystemMetrics | None = None
        if not identity.must_exist:
            self._record("status", status="RUNNING")
        # Only now: with an empty journal, it would begin with those of other runs.
        self._uploader.start()
        if not identity.must_exist and settings.system_metrics_seconds > 0:
            first = 1 + self._journal.last_step("is_of_system")
            self._system_metrics = SystemMetrics(self._record, first, settings.system_metrics_seconds)

    def log_parameters(self, values: Mapping[str, Any]) -> None:
        """Log flat parameters. A parameter that the run has already keeps its value."""
        self._record("parameters", values=dict(values))

    def log_tags(self, values: Mapping[str, str]) -> None:
        """Log tags."""
        self._record("tags", values=dict(values))

    def log_metrics(self, values: Mapping[str, float], images_seen: int) -> None:
        """Log metrics."""
        self._record("metrics", step=images_seen, values=dict(values))

    def log_tick(self, values: Mapping[str, float], images_seen: int) -> None:
        """Log the metrics of a tick, unless the run has them already."""
        is_new = images_seen > self.last_step
        if is_new and self._record("metrics", step=images_seen, values=dict(values), is_history=True):
            self.last_step = images_seen

    def log_history(self, history: "pd.DataFrame") -> None:
        """Log the ticks of a history that the run does not have yet; a new run gets all of them."""
        new_ticks = history[history["images_seen"] > self.last_step].drop(columns="health", errors="ignore")
        for _, row in new_ticks.iterrows():
            numbers = {str(name): float(value) for name, value in row.dropna().items()}
            self.log_tick(numbers, int(numbers.pop("images_seen")))

    def log_dataset(self, name: str, digest: str, source: str, tags: Mapping[str, str]) -> None:
        """Log the images that the run trains on. The UI shows them and filters runs by them."""
        self._record("dataset", name=name, digest=digest, source=source, tags=dict(tags))

    def log_image(self, path: Path, key: str, images_seen: int) -> None:
        """Log an image, unless the run has it already. The UI has a slider over the steps of a key."""
        is_new = images_seen > self._last_image_step
        if is_new and self._record("picture", [path], key=key, step=images_seen, is_picture=True):
            self._last_image_step = images_seen

    def log_file(self, path: Path, folder: str = "reports") -> None:
        """Log a file as an artifact."""
        self._record("file", [path], folder=folder)

    def register_generator(self, parts: Sequence[Path], name: str) -> None:
        """Register the exported generator (the folder `generator`) and the files that belong to it."""
        self._record("generator", parts, name=name)

    def close(self, status: str) -> None:
        """End the run with FINISHED, FAILED or KILLED. Report registered models and records that are still pending."""
        with self._lock:
            # An evaluation of the generator neither restarts nor ends its training.
            if not self._identity.must_exist:
                self._record("status", status=status)
            if self._system_metrics:
                self._system_metrics.finish()
            self._is_closed = True
            is_uploaded = self._uploader.finish()
        for message in self._uploader.messages:
            logger.info("%s", message)
        if not is_uploaded:
            logger.warning("Some records in %s are not uploaded yet: run kedro dcgan sync.", self._journal.folder)

    def _record(self, kind: str, files: Sequence[Path] = (), **values: Any) -> bool:
        # Return whether the journal has the record.
        if self._is_closed:
            return False
        try:
            self._journal.add(kind, files, **values)
        except (OSError, DcganError) as error:
            if not self._has_warned:
                logger.warning("Cannot log %s to MLflow (%s). The run continues.", kind, error)
            self._has_warned = True
            return False
        self._uploader.notify()
        return True


class SystemMetrics:
    """A thread that records system metrics (CPU, memory, disk, network, GPU) under MLflow's names: `system/…`.

    It records a sample every `seconds`, and one at the end; the step is the index of the sample. MLflow's own monitor
    stops for good if the server is down once. This thread uses MLflow's probes and writes to the journal.
    """

    def __init__(self, record: Callable[..., object], first_step: int, seconds: float) -> None:
        self._record, self._first_step, self._seconds = record, first_step, seconds
        self._is_finishing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="system-metrics", daemon=True)
        self._thread.start()

    def finish(self) -> None:
        """Record the last sample and stop the thread."""
        self._is_finishing.set()
        self._thread.join(5)

    def _run(self) -> None:
        # Importing MLflow takes seconds: the thread does it, not the training.
        from mlflow.system_metrics.metrics.cpu_monitor import CPUMonitor
        from mlflow.system_metrics.metrics.disk_monitor import DiskMonitor
        from mlflow.system_metrics.metrics.gpu_monitor import GPUMonitor
        from mlflow.system_metrics.metrics.network_monitor import NetworkMonitor

        monitors: list[Any] = [CPUMonitor(), DiskMonitor(), NetworkMonitor()]
        try:
            monitors.append(GPUMonitor())
        except (ImportError, RuntimeError) as error:
            logger.debug("no GPU metrics: %s", error)
        for step in itertools.count(self._first_step):
            is_last = self._is_finishing.wait(self._seconds)
            values: dict[str, float] = {}
            for monitor in monitors:
                try:
                    monitor.collect_metrics()
                    values |= monitor.aggregate_metrics()
                    monitor.clear_metrics()
                except Exception as error:
                    logger.debug("%s failed: %s", type(monitor).__name__, error)
            named = {f"system/{name}": value for name, value in values.items()}
            self._record("metrics", step=step, values=named, is_of_system=True)
            if is_last:
                return


def mark_killed_runs(root: Path) -> None:
    """Record the status KILLED for all runs whose processes died without reporting."""
    for journal in Journal.find_all(root):
        # If a journal cannot be written now, a later command tries it again. A live process holds its lock.
        with contextlib.suppress(OSError, DcganError), journal.lock("writing") as is_free:
            records = journal.last_records() if is_free and not journal.identity.must_exist else []
            # A late thread may append a record after the final status.
            status = next((record["status"] for record in reversed(records) if record["kind"] == "status"), "RUNNING")
            if records and status == "RUNNING":
                journal.add("status", status="KILLED", time=records[-1].get("time", milliseconds()))
