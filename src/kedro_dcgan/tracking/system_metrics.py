"""System metrics (CPU, memory, disk, network, GPU), logged under MLflow's names: `system/…`.

MLflow's own monitor stops for good if the server is down once. This one uses its probes and logs to the journal.
"""

import itertools
import logging
import threading
from collections.abc import Callable

logger = logging.getLogger(__name__)


class SystemMetrics:
    """A thread that records a sample every `seconds`, and one at the end. The step is the index of the sample."""

    def __init__(self, record: Callable[..., object], first_step: int, seconds: float) -> None:
        self._record, self._first_step, self._seconds = record, first_step, seconds
        self._is_finishing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="system-metrics", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def finish(self) -> None:
        """Record the last sample and stop the thread."""
        self._is_finishing.set()
        self._thread.join(5)

    def _run(self) -> None:
        monitors = _monitors()
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


def _monitors() -> list:  # type: ignore[type-arg]  # mlflow does not document the base class
    # Importing MLflow takes seconds: the thread does it, not the training.
    from mlflow.system_metrics.metrics.cpu_monitor import CPUMonitor
    from mlflow.system_metrics.metrics.disk_monitor import DiskMonitor
    from mlflow.system_metrics.metrics.gpu_monitor import GPUMonitor
    from mlflow.system_metrics.metrics.network_monitor import NetworkMonitor

    monitors = [CPUMonitor(), DiskMonitor(), NetworkMonitor()]
    try:
        monitors.append(GPUMonitor())
    except (ImportError, RuntimeError) as error:
        logger.debug("no GPU metrics: %s", error)
    return monitors
