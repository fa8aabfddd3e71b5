"""Time of an evaluation of 10,000 samples, and peak memory of FID with 10,000 and 50,000 samples.

The evaluation computes all default metrics of `kedro run --pipelines=evaluation` against 10,000 test and 20,000
training images, with cached reference statistics. Memory is the peak of a process that accumulates the moments of
2,048 features, like FID, without the network, whose memory is constant.

    python benchmarks/evaluation_scale.py
"""

import logging
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd
import torch

SAMPLES, COUNTS = 10_000, (10_000, 50_000)


def measure_time() -> None:
    """Print the time of an evaluation of 10,000 grey images of 32x32 pixels, from the generator of the base preset."""
    from kedro_dcgan.config import EvaluationParameters, TrainingParameters
    from kedro_dcgan.data.shards import PreparedImages, StoredShard
    from kedro_dcgan.evaluation.reference import ReferenceCache
    from kedro_dcgan.model.recipes import build_generator, network_configs
    from kedro_dcgan.model.saved import TrainedGenerator, snapshot_weights
    from kedro_dcgan.pipelines.evaluation.nodes import evaluate_generator

    read = {name: load_parameters(name) for name in ("training", "evaluation")}
    config, _ = network_configs(32, 1, TrainingParameters.model_validate(read["training"]))
    generator = TrainedGenerator(config, snapshot_weights(build_generator(config)), "digest", 0, {})
    total = 3 * SAMPLES
    pixels = np.random.default_rng(0).integers(0, 256, (total, 1, 32, 32), dtype=np.uint8)
    rows = {"test": np.arange(SAMPLES), "train": np.arange(SAMPLES, total)}
    images = PreparedImages(32, 1, "digest", [StoredShard("0", "", pixels)], rows)
    labels = [str(number % 10) for number in range(total)]
    manifest = pd.DataFrame({"row": np.arange(total), "label": labels, "verdict": "accepted"})
    evaluation = EvaluationParameters.model_validate(
        read["evaluation"] | {"samples": SAMPLES, "inception_weights": None, "device": "cpu"}
    )
    with tempfile.TemporaryDirectory() as folder:
        stored = ReferenceCache(Path(folder))
        seconds = []
        for _ in range(2):
            started = time.perf_counter()
            result, *_ = evaluate_generator(generator, images, manifest, stored, evaluation)
            seconds.append(time.perf_counter() - started)
    print(
        f"evaluation of {SAMPLES:,} samples, {len(result['numbers'])} numbers, {torch.get_num_threads()} threads: "
        f"{seconds[1]:.0f} s; {seconds[0]:.0f} s without cached reference statistics"
    )


def load_parameters(name: str) -> dict:
    """Return the defaults from conf/base."""
    import yaml

    file = Path(__file__).parents[1] / f"conf/base/parameters_{name}.yml"
    return yaml.safe_load(file.read_text())[name]


def measure_memory() -> None:
    """Print the peak memory for both counts, and their ratio."""
    peaks = []
    for count in COUNTS:
        found = subprocess.run([sys.executable, __file__, str(count)], capture_output=True, text=True, check=True)
        peaks.append(int(found.stdout))
    listed = ", ".join(f"{count:,}: {peak / 1024:.0f} MB" for count, peak in zip(COUNTS, peaks, strict=True))
    print(f"memory of moments of 2,048 dimensions and their distance: {peaks[1] / peaks[0]:.2f}x ({listed})")


def take_moments(count: int) -> None:
    """Print the peak memory of this process in KiB, after a distance from `count` features."""
    import resource

    from kedro_dcgan.evaluation.features import Collector
    from kedro_dcgan.evaluation.reference import Reference

    class Drawn:
        id, weights_sha256, dimension, resize, batch_size, keeps_features = "drawn", "", 2048, "none", 100, False
        precision = "float32"

        def __call__(self, images: torch.Tensor) -> torch.Tensor:
            return torch.randn(len(images), self.dimension)

    batches = (torch.empty(100) for _ in range(count // 100))
    generated, real = Collector(Drawn(), batches), Collector(Drawn(), torch.empty(3000).split(100))
    Reference.of(real).measure(generated, None)
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)


if __name__ == "__main__":
    logging.disable(logging.INFO)
    if len(sys.argv) > 1:
        take_moments(int(sys.argv[1]))
    else:
        measure_memory()
        measure_time()
