"""Overhead of Kedro, MLflow, checkpoints and reports: `kedro run` against the bare loop of steps, in one run.

The start-up time is subtracted: the speed is that of the difference between a short and a long training.

    python benchmarks/kedro_run.py
"""

import shutil
import statistics
import subprocess
import tempfile
import time
from pathlib import Path

import torch
from step_timing import calibrated, preset_values

from kedro_dcgan.config import TrainingParameters
from kedro_dcgan.data.shard_files import read_prepared_images
from kedro_dcgan.model.sampling import to_model_range
from kedro_dcgan.training.data import batch_indices, batches_on
from kedro_dcgan.training.fast.execution import step_of

ROUNDS, SHORT, LONG = 3, 5, 35  # thousand images
ROOT = Path(__file__).parents[1]


def kedro(project: Path, *arguments: str) -> float:
    """Run `kedro run`; return its duration in seconds."""
    started = time.perf_counter()
    subprocess.run(["kedro", "run", *arguments], cwd=project, check=True, capture_output=True)
    return time.perf_counter() - started


def speed_of_kedro_run(project: Path) -> float:
    """Return the images per second of `kedro run`."""
    seconds = {
        kimg: kedro(project, "--pipelines=training", "--params", f"training.kimg={kimg},training.resume=never")
        for kimg in (SHORT, LONG)
    }
    return 1000 * (LONG - SHORT) / (seconds[LONG] - seconds[SHORT])


def speed_of_bare_steps(project: Path) -> float:
    """Return the images per second of the bare steps."""
    images = read_prepared_images(project / "data/03_primary/images", project / "data/03_primary/shards")
    training = TrainingParameters.model_validate(preset_values("base"))
    case = calibrated(images.image_size, images.channels, training)
    torch.set_num_threads(case.calibration.threads)
    compute = case.compute
    step = step_of(case.new_state(), training, compute)
    count = 1000 * (LONG - SHORT) // training.batch_size
    indices = batch_indices(images.count("train"), training.batch_size, range(count), 0)
    started = time.perf_counter()
    for batch in batches_on(compute.device, images, indices):
        step(to_model_range(batch.images))
    return count * training.batch_size / (time.perf_counter() - started)


def main() -> None:
    """Print one line."""
    with tempfile.TemporaryDirectory() as folder:
        project = Path(folder) / "kedro-dcgan"
        project.mkdir()
        for name in ("conf", "src"):
            shutil.copytree(ROOT / name, project / name, ignore=shutil.ignore_patterns("local", "__pycache__"))
        shutil.copy(ROOT / "pyproject.toml", project)
        (project / "conf/local").mkdir()
        kedro(project, "--pipelines=ingestion,preprocessing")
        speeds = [(speed_of_kedro_run(project), speed_of_bare_steps(project)) for _ in range(ROUNDS)]
    share = statistics.median(with_kedro / alone for with_kedro, alone in speeds)
    with_kedro, alone = (statistics.median(side) for side in zip(*speeds, strict=True))
    print(f"kedro run: {share:.0%} of the bare loop ({with_kedro:,.0f} against {alone:,.0f} images/s)")


if __name__ == "__main__":
    main()
