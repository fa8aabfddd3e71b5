"""What telling MLflow costs training, and what a server that is away or slow costs: against the same training untold.

Each side trains the digits of `base` for some seconds in the loop that `kedro run` uses, and tells at every tick what
`kedro run` tells: losses and a picture of samples. By turns, each round with a run of its own.

Machines are noisier than what is to be seen, so that beside the ratio of speeds stands what can be counted: the time
that the thread which trains spends telling, and the time of a core that the two threads take which send and look at
the machine, as a share of the time of all cores that train.

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
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import psutil
import torch
from PIL import Image
from sides import calibrated, preset_values

from kedro_dcgan.config import TrainingParameters
from kedro_dcgan.reports.pictures import make_grid
from kedro_dcgan.tracking import uploader
from kedro_dcgan.tracking.connection import TrackingSettings
from kedro_dcgan.tracking.journal import RunIdentity, milliseconds
from kedro_dcgan.tracking.run import TrackedRun
from kedro_dcgan.training.devices import keep_freed_memory
from kedro_dcgan.training.loop import Training, TrainingCallbacks

# A tick as often as conf/base has it.
ROUNDS, IMAGES, TICK = 4, 15_200, 5_000


@dataclass(frozen=True)
class Measured:
    """One training: its images a second, and the share of all cores' time that telling took."""

    images_per_second: float
    share: float


def train(settings: TrackingSettings | None, folder: Path) -> Measured:
    """Train once."""
    values = {**preset_values("base"), "images_per_tick": TICK, "images_per_validation": None}
    training = TrainingParameters.model_validate(values)
    case = calibrated(32, 1, training)
    torch.set_num_threads(case.calibration.threads)
    compute = case.compute
    real = torch.randint(0, 256, (64, 1, 32, 32), dtype=torch.uint8)
    images = real[: training.batch_size]
    loop = Training(case.started(), training, compute, TrainingCallbacks(real))
    identity = RunIdentity(uuid.uuid4().hex, "benchmark", "a run", milliseconds())
    run = TrackedRun(settings, identity, log_system_metrics=True) if settings else None
    batches = itertools.repeat(images, IMAGES // training.batch_size)
    seconds, telling, begun, threads = 0.0, 0.0, None, 0.0
    for tick in loop.ticks(batches, IMAGES):
        picture = folder / f"{tick.images_seen}.png"
        # Written on both sides: it is a dataset of the pipeline.
        Image.fromarray(make_grid(tick.samples.numpy())).save(picture)
        entered = time.perf_counter()
        if run and tick.record:
            numbers = {name: value for name, value in tick.record.as_dict().items() if isinstance(value, float)}
            run.log_tick(numbers, tick.images_seen)
            run.log_image(picture, "samples", tick.images_seen)
        # From the first tick on: the importing of MLflow, once for a process, is no part of it.
        if begun is None:
            begun, threads = time.perf_counter(), cpu_of_threads()
            continue
        telling += time.perf_counter() - entered
        seconds = time.perf_counter() - begun
    beside = cpu_of_threads() - threads
    if run:
        run.close("FINISHED")
    cores = torch.get_num_threads()
    return Measured(IMAGES / seconds, (telling * cores + beside) / (seconds * cores))


def cpu_of_threads() -> float:
    """Return the seconds of a core that sending and looking at the machine have taken."""
    ours = {one.native_id for one in threading.enumerate() if one.name in ("mlflow-uploader", "system-metrics")}
    return sum(one.user_time + one.system_time for one in psutil.Process().threads() if one.id in ours)


def slow_server() -> str:
    """Start a server that answers after ten seconds; return its address."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            time.sleep(10)
            self.send_response(503)
            self.end_headers()

        do_POST = do_GET  # noqa: N815

        def log_message(self, *_: object) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return f"http://127.0.0.1:{server.server_port}"


def account(told: list[Measured], untold: list[Measured]) -> str:
    """Return what the rounds of one server say."""
    pairs = zip(told, untold, strict=True)
    ratios = sorted(one.images_per_second / other.images_per_second for one, other in pairs)
    share = statistics.median(one.share for one in told)
    return (
        f"telling takes {share:.2%} of the cores' time; {statistics.median(ratios):.1%} of the speed "
        f"of training untold ({ratios[0]:.1%} to {ratios[-1]:.1%} in {len(ratios)} rounds)"
    )


def main() -> None:
    """Print one line a server."""
    keep_freed_memory()
    # How long the end of a run waits for a slow server is no part of training.
    uploader._RECORD_TIMEOUT = 0.5
    logging.disable(logging.WARNING)
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as name:
        folder = Path(name)
        servers = {
            "a database in a file": f"sqlite:///{folder}/mlflow.db",
            "a server that is away": "http://127.0.0.1:9",
            "a server that takes ten seconds": slow_server(),
        }
        rounds = int(sys.argv[1]) if len(sys.argv) > 1 else ROUNDS
        sides: dict[str, Callable[[], Measured]] = {"untold": lambda: train(None, folder)}
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
            # Once beforehand: tables are made, MLflow is imported.
            sides[title]()
        measured: dict[str, list[Measured]] = {title: [] for title in sides}
        for turn in range(rounds):
            # Forwards and backwards, so that none is always the first.
            for title in list(sides)[:: -1 if turn % 2 else 1]:
                measured[title].append(sides[title]())
        for title in servers:
            print(f"{title}: {account(measured[title], measured['untold'])}")


if __name__ == "__main__":
    main()
