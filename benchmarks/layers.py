"""Each convolution of a preset on this machine: the time of every algorithm, and the share of the matrix rate.

The operations of a layer are `small` (forward of a convolution), `large` (its gradient with respect to the images, and
forward of a transposed convolution) and `kernel` (the gradient of the weights). The matrix rate is that of large matrix
products in the same precision.

    python benchmarks/layers.py faces64 --batch-size 128 --precision float32
"""

import argparse
from dataclasses import replace
from math import prod

import torch
from step_timing import CONF, parameters
from yaml import safe_load

from kedro_dcgan.model.convolution_algorithms import key_of, run
from kedro_dcgan.model.recipes import build_discriminator, build_generator, network_configs
from kedro_dcgan.progress import operations
from kedro_dcgan.training.devices import Compute, keep_freed_memory
from kedro_dcgan.training.fast.autotune import geometries, operands_of, seconds_of
from kedro_dcgan.training.fast.profile import matrix_rate

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}


def main() -> None:
    """Print one line per operation of each layer."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("preset", nargs="?", default="base")
    parser.add_argument("--batch-size", type=int, default=None)
    parser.add_argument("--precision", choices=DTYPES, default="float32")
    asked = parser.parse_args()
    training = parameters(asked.preset, **({"batch_size": asked.batch_size} if asked.batch_size else {}))
    size, channels = sizes_of(asked.preset)
    generator, discriminator = network_configs(size, channels, training)
    keep_freed_memory()
    rate = matrix_rate(Compute(torch.device("cpu"), asked.precision))
    print(
        f"{asked.preset}, {size}x{size}x{channels}, batch {training.batch_size}, {asked.precision} on "
        f"{torch.get_num_threads()} threads; matrix products {operations(rate)}"
    )
    noise = torch.randn(training.batch_size, channels, size, size)
    for network, inputs in (
        (build_generator(generator), torch.randn(training.batch_size, generator.latent_dim)),
        (build_discriminator(discriminator), noise),
    ):
        print_layers(network, inputs, DTYPES[asked.precision], rate)


def print_layers(network: torch.nn.Module, inputs: torch.Tensor, dtype: torch.dtype, rate: float) -> None:
    """Print the lines of one network."""
    for name, geometry in geometries(network, inputs).items():
        flops = 2 * len(inputs) * prod(geometry.small) * geometry.features * geometry.channels * geometry.kernel**2
        shape = f"{geometry.channels}x{geometry.large[0]}² - {geometry.features}x{geometry.small[0]}²"
        for operation, pair in operands_of(geometry, len(inputs), dtype).items():
            seconds = {}
            for algorithm in geometry.possible(operation):
                chosen = replace(geometry, algorithms={key_of(operation, dtype): algorithm})
                seconds[algorithm] = seconds_of(lambda: run(operation, *pair, chosen))  # noqa: B023  (run at once)
            fastest = min(seconds, key=seconds.__getitem__)
            times = "  ".join(f"{one} {1000 * value:.3f}" for one, value in seconds.items())
            reached = flops / seconds[fastest]
            print(
                f"  {type(network).__name__} {name:<10} {shape:<20} {operation:<7} {fastest:<9} "
                f"{operations(reached):>13} {reached / rate:5.0%}   ms: {times}",
                flush=True,
            )


def sizes_of(preset: str) -> tuple[int, int]:
    """Return the size and the channels of the images of a preset."""
    values = safe_load((CONF / "base/parameters_preprocessing.yml").read_text())["preprocessing"]
    file = CONF / preset / "parameters_preprocessing.yml"
    if file.exists():
        values |= safe_load(file.read_text())["preprocessing"]
    return values["image_size"], values["channels"]


if __name__ == "__main__":
    main()
