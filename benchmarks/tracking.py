"""What telling MLflow costs training, and what a server that is away or slow costs: against the same training untold.

Each side trains the digits of `base` for some seconds in the loop that `kedro run` uses, and tells at every tick what
`kedro run` tells: losses and a picture of samples. By turns, each round with a run of its own.

    python benchmarks/tracking.py
"""

import itertools
import logging
import statistics
import tempfile
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import torch
from PIL import Image
from sides import preset_values

from kedro_dcgan.gan.architectures import network_specs
from kedro_dcgan.gan.devices import choose_compute, keep_freed_memory
from kedro_dcgan.gan.training.loop import Training
from kedro_dcgan.gan.training.state import start
from kedro_dcgan.gan.training.tick import Surroundings
from kedro_dcgan.images.grid import make_grid
from kedro_dcgan.parameters import TrainingParameters
from kedro_dcgan.tracking import sender
from kedro_dcgan.tracking.journal import RunIdentity, milliseconds, new_key
from kedro_dcgan.tracking.run import TrackedRun
from kedro_dcgan.tracking.settings import TrackingSettings

# A tick as often as conf/base has it.
ROUNDS, IMAGES, TICK = 4, 15_200, 5_000


def train(settings: TrackingSettings | None, folder: Path) -> float:
    """Return the images a second of one training."""
    values = {**preset_values("base"), "images_per_tick": TICK, "images_per_validation": None}
    training = TrainingParameters.model_validate(values)
    compute = choose_compute("auto", "auto")
    specs = network_specs(32, 1, training)
    real = torch.randint(0, 256, (64, 1, 32, 32), dtype=torch.uint8)
    images = real[: training.batch_size]
    loop = Training(start(*specs, training, compute), training, compute, Surroundings(real))
    identity = RunIdentity(new_key(), "benchmark", "a run", milliseconds())
    run = TrackedRun(settings, identity, watch_system=True) if settings else None
    batches = itertools.repeat(images, IMAGES // training.batch_size)
    seconds, begun = 0.0, None
    for tick in loop.ticks(batches, IMAGES):
        picture = folder / f"{tick.images_seen}.png"
        # Written on both sides: it is a dataset of the pipeline.
        Image.fromarray(make_grid(tick.samples.numpy())).save(picture)
        if run and tick.record:
            numbers = {name: value for name, value in tick.record.as_dict().items() if isinstance(value, float)}
            run.log_history(numbers, tick.images_seen)
            run.log_picture(picture, "samples", tick.images_seen)
        # From the first tick on: the importing of MLflow, once for a process, is no part of it.
        begun = begun or time.perf_counter()
        seconds = time.perf_counter() - begun
    if run:
        run.close("FINISHED")
    return IMAGES / seconds


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


def main() -> None:
    """Print one line a server."""
    keep_freed_memory()
    # How long the end of a run waits for a slow server is no part of training.
    sender._PATIENCE = 0.5
    logging.disable(logging.WARNING)
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as name:
        folder = Path(name)
        servers = {
            "a database in a file": f"sqlite:///{folder}/mlflow.db",
            "a server that is away": "http://127.0.0.1:9",
            "a server that takes ten seconds": slow_server(),
        }
        sides: dict[str, Callable[[], float]] = {"untold": lambda: train(None, folder)}
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
        speeds: dict[str, list[float]] = {title: [] for title in sides}
        for turn in range(ROUNDS):
            # Forwards and backwards, so that none is always the first.
            for title in list(sides)[:: -1 if turn % 2 else 1]:
                speeds[title].append(sides[title]())
        for title in servers:
            ratios = [told / untold for told, untold in zip(speeds[title], speeds["untold"], strict=True)]
            middle = statistics.median(speeds[title])
            print(f"{title}: {statistics.median(ratios):.1%} of the speed of training untold ({middle:,.0f} images/s)")


if __name__ == "__main__":
    main()
