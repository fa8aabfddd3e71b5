"""Time of an epoch over as many 64x64 images as CelebA has, on noise: batches, steps and losses as in training.

python benchmarks/epoch.py                  # for a GPU
python benchmarks/epoch.py --images 2000    # for a CPU
"""

import argparse
import time
from itertools import islice

import numpy as np
import torch
from step_timing import calibrated, parameters

from kedro_dcgan.data.shards import PreparedImages, StoredShard
from kedro_dcgan.model.sampling import to_model_range
from kedro_dcgan.training.data import batch_indices, batches_on
from kedro_dcgan.training.devices import deterministic_algorithms
from kedro_dcgan.training.fast.cuda_graphs import STEPS_BEFORE
from kedro_dcgan.training.fast.execution import step_of
from kedro_dcgan.training.step import cycle_of
from kedro_dcgan.training.threads import torch_threads

CELEBA = 202_599


def main() -> None:
    """Print one line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=CELEBA)
    parser.add_argument("--batch-size", type=int, default=128)
    asked = parser.parse_args()
    noise = np.random.default_rng(0).integers(0, 256, (asked.images, 3, 64, 64), dtype=np.uint8)
    images = PreparedImages(64, 3, "noise", [StoredShard("0", "", noise)], {"train": np.arange(asked.images)})
    training = parameters("faces64", batch_size=asked.batch_size)
    case = calibrated(64, 3, training)
    compute = case.compute
    with deterministic_algorithms(False), torch_threads(case.calibration.threads):
        state = case.new_state()
        step = step_of(state, training, compute)
        warm_up, epoch = cycle_of(training) * (STEPS_BEFORE + 1), asked.images // asked.batch_size
        order = batch_indices(asked.images, asked.batch_size, range(warm_up + epoch), 0)
        batches = iter(batches_on(compute.device, images, order))
        seconds = []
        for count in (warm_up, epoch):
            started = time.perf_counter()
            for batch in islice(batches, count):
                state.means.add(step(to_model_range(batch.images)))
            state.means.first_fault()
            if compute.device.type == "cuda":
                torch.cuda.synchronize()
            seconds.append(time.perf_counter() - started)
    speed, title = epoch * asked.batch_size / seconds[1], f"{asked.images:,} images in batches of {asked.batch_size}"
    print(f"{title}, {case.calibration}: {seconds[1]:.1f} s, {speed:,.0f} images/s")


if __name__ == "__main__":
    main()
