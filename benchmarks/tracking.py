"""Overhead of MLflow tracking with a working, an unreachable and a slow server, against training without tracking.

Each training uses the loop and the `base` preset of `kedro run`, and logs losses and a sample grid at every tick. The
trainings alternate, and each round has its own MLflow run.

The ratio of speeds is noisier than the effect. The benchmark therefore also prints the share of CPU time that tracking
takes: in the training thread, in the upload thread, and in the thread that samples system metrics.

    python benchmarks/tracking.py [ROUNDS]
"""

import itertools
import logging
import statistics
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Callable
from dataclasses import asdict, dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import psutil
import torch
from PIL import Image
from step_timing import calibrated, preset_values

from kedro_dcgan.config import TrainingParameters
from kedro_dcgan.reports.pictures import make_grid
from kedro_dcgan.tracking import uploader
from kedro_dcgan.tracking.connection import TrackingSettings
from kedro_dcgan.tracking.journal import RunIdentity, milliseconds
from kedro_dcgan.tracking.run import TrackedRun
from kedro_dcgan.training.devices import keep_freed_memory
from kedro_dcgan.training.loop import Training, TrainingCallbacks

# The tick interval is that of conf/base.
ROUNDS, IMAGES, TICK = 4, 15_200, 5_000


@dataclass(frozen=True)
class Measured:
    """One training: images per second, and the share of CPU time that tracking takes."""

    images_per_second: float
    share: float


def train(settings: TrackingSettings | None, folder: Path) -> Measured:
    """Train once, with or without tracking."""
    values = {**preset_values("base"), "images_per_tick": TICK, "images_per_validation": None}
    training = TrainingParameters.model_validate(values)
    case = calibrated(32, 1, training)
    torch.set_num_threads(case.calibration.threads)
    compute = case.compute
    real = torch.randint(0, 256, (64, 1, 32, 32), dtype=torch.uint8)
    images = real[: training.batch_size]
    loop = Training(case.new_state(), training, compute, TrainingCallbacks(real))
    identity = RunIdentity(uuid.uuid4().hex, "benchmark", "a run", milliseconds())
    run = TrackedRun(settings, identity) if settings else None
    batches = itertools.repeat(images, IMAGES // training.batch_size)
    seconds, tracking, begun, threads = 0.0, 0.0, None, 0.0
    for tick in loop.ticks(batches, IMAGES):
        picture = folder / f"{tick.images_seen}.png"
        # Trainings without tracking write it too, because it is a dataset of the pipeline.
        Image.fromarray(make_grid(tick.samples.numpy())).save(picture)
        entered = time.perf_counter()
        if run and tick.record:
            numbers = {name: value for name, value in asdict(tick.record).items() if isinstance(value, float)}
            run.log_tick(numbers, tick.images_seen)
            run.log_image(picture, "samples", tick.images_seen)
        # Start at the first tick, to exclude the import of MLflow.
        if begun is None:
            begun, threads = time.perf_counter(), cpu_of_threads()
            continue
        tracking += time.perf_counter() - entered
        seconds = time.perf_counter() - begun
    background = cpu_of_threads() - threads
    if run:
        run.close("FINISHED")
    cores = torch.get_num_threads()
    return Measured(IMAGES / seconds, (tracking * cores + background) / (seconds * cores))


def cpu_of_threads() -> float:
    """Return the CPU seconds of the upload thread and of the thread that samples system metrics."""
    ours = {one.native_id for one in threading.enumerate() if one.name in ("mlflow-uploader", "system-metrics")}
    return sum(one.user_time + one.system_time for one in psutil.Process().threads() if one.id in ours)


def slow_server() -> str:
    """Start a server that takes ten seconds for each response; return its address."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            time.sleep(10)
            self.send_response(503)
            self.end_headers()

        do_POST = do_GET  # noqa: N815

        def log_message(self, *_: object) -> None:
            """Log nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return f"http://127.0.0.1:{server.server_port}"


def summary(tracked: list[Measured], untracked: list[Measured]) -> str:
    """Return the summary of the rounds of one server."""
    pairs = zip(tracked, untracked, strict=True)
    ratios = sorted(one.images_per_second / other.images_per_second for one, other in pairs)
    share = statistics.median(one.share for one in tracked)
    return (
        f"tracking takes {share:.2%} of the CPU time; {statistics.median(ratios):.1%} of the speed "
        f"without tracking ({ratios[0]:.1%} to {ratios[-1]:.1%} in {len(ratios)} rounds)"
    )


def main() -> None:
    """Print one line per server."""
    keep_freed_memory()
    # Shorten the wait for a slow server at the end of a run, which is not part of training.
    uploader._RECORD_TIMEOUT = 0.5
    logging.disable(logging.WARNING)
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as name:
        folder = Path(name)
        servers = {
            "a database in a file": f"sqlite:///{folder}/mlflow.db",
            "an unreachable server": "http://127.0.0.1:9",
            "a server that takes ten seconds per response": slow_server(),
        }
        rounds = int(sys.argv[1]) if len(sys.argv) > 1 else ROUNDS
        sides: dict[str, Callable[[], Measured]] = {"untracked": lambda: train(None, folder)}
        for number, (title, server) in enumerate(servers.items()):
            settings = TrackingSettings(
                server=server,
                artifact_location=f"{folder}/artifacts" if server.startswith("sqlite") else None,
                journals=folder / f"journals-{number}",
                experiment="benchmark",
                run_name=None,
                system_metrics_seconds=10,
                ui_port=5000,
            )
            sides[title] = lambda settings=settings: train(settings, folder)
            # Warm up: create the tables and import MLflow.
            sides[title]()
        measured: dict[str, list[Measured]] = {title: [] for title in sides}
        for turn in range(rounds):
            # Alternate the order, so that no training is always the first.
            for title in list(sides)[:: -1 if turn % 2 else 1]:
                measured[title].append(sides[title]())
        for title in servers:
            print(f"{title}: {summary(measured[title], measured['untracked'])}")


if __name__ == "__main__":
    main()
