"""How busy the machine is, told now and then, under the names that MLflow gives: `system/…`.

MLflow's own monitor stops for good when the server is away once; its probes are used here.
"""

import itertools
import logging
import threading
from collections.abc import Callable

logger = logging.getLogger(__name__)


class SystemMetrics:
    """Takes a sample every so many seconds, and one at the end. A step is a sample, as MLflow counts."""

    def __init__(self, tell: Callable[..., object], first: int, seconds: float) -> None:
        self._tell, self._first, self._seconds = tell, first, seconds
        self._is_ending = threading.Event()
        self._thread = threading.Thread(target=self._work, name="system-metrics", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def finish(self) -> None:
        """Take the last sample and end."""
        self._is_ending.set()
        self._thread.join(5)

    def _work(self) -> None:
        monitors = _monitors()
        for step in itertools.count(self._first):
            is_last = self._is_ending.wait(self._seconds)
            values: dict[str, float] = {}
            for monitor in monitors:
                try:
                    monitor.collect_metrics()
                    values |= monitor.aggregate_metrics()
                    monitor.clear_metrics()
                except Exception as error:
                    logger.debug("a probe fails: %s", error)
            named = {f"system/{name}": value for name, value in values.items()}
            self._tell("metrics", step=step, values=named, is_of_system=True)
            if is_last:
                return


def _monitors() -> list:  # type: ignore[type-arg]  # mlflow's base class is no part of what it documents
    from mlflow.system_metrics.metrics.cpu_monitor import CPUMonitor
    from mlflow.system_metrics.metrics.disk_monitor import DiskMonitor
    from mlflow.system_metrics.metrics.gpu_monitor import GPUMonitor
    from mlflow.system_metrics.metrics.network_monitor import NetworkMonitor

    monitors = [CPUMonitor(), DiskMonitor(), NetworkMonitor()]
    try:
        monitors.append(GPUMonitor())
    except (ImportError, RuntimeError) as error:
        logger.debug("no GPU to be watched: %s", error)
    return monitors
