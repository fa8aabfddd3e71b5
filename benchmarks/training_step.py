"""Training steps on this machine: ours against the step of pytorch/examples' dcgan (`peer.py`), both in one run.

Both sides train the same networks on the same images; where a recipe penalises gradients, ours does that as well. What
ours comes to in FLOP/s is compared with products of large matrices in the same precision, measured between the rounds.

    python benchmarks/training_step.py
"""

import statistics
from collections.abc import Callable

from peer import Peer
from sides import Case, Side, parameters, usual_execution
from torch import Tensor

from kedro_dcgan.gan.architectures import network_specs
from kedro_dcgan.gan.devices import choose_compute, keep_freed_memory
from kedro_dcgan.gan.training.arithmetic import flops_per_image
from kedro_dcgan.gan.training.execution import execute
from kedro_dcgan.gan.training.profile import matrix_rate
from kedro_dcgan.gan.training.state import start
from kedro_dcgan.gan.training.step import Step
from kedro_dcgan.progress import operations

ROUNDS = 5


def ours(case: Case) -> Callable[[Tensor], object]:
    """Make our step."""
    if case.compute.device.type == "cpu":
        keep_freed_memory()
    state = start(*network_specs(case.size, case.channels, case.training), case.training, case.compute)
    execute(state, usual_execution(case.compute))
    return Step(state, case.training, case.compute)


def peer(case: Case) -> Callable[[Tensor], object]:
    """Make the peer's step."""
    return Peer(network_specs(case.size, case.channels, case.training), case.compute.device)


def compare(case: Case) -> None:
    """Print one line."""
    sides = {"ours": Side(ours, case), "peer": Side(peer, case)}
    speeds: dict[str, list[float]] = {name: [] for name in sides}
    wall = []
    for _ in range(ROUNDS):
        for name, side in sides.items():
            speeds[name].append(side.images_per_second())
        wall.append(matrix_rate(case.compute))
    for side in sides.values():
        side.end()
    # The median of ratios within a round is steady on a noisy machine.
    ratio = statistics.median(one / other for one, other in zip(speeds["ours"], speeds["peer"], strict=True))
    training = case.training
    flops = flops_per_image(*network_specs(case.size, case.channels, training), training)
    share = statistics.median(speed * flops / rate for speed, rate in zip(speeds["ours"], wall, strict=True))
    medians = [statistics.median(speeds[name]) for name in sides]
    print(
        f"{case.size}x{case.size}x{case.channels} {training.architecture} width {training.generator.width} batch "
        f"{training.batch_size:>3} {case.compute}: {ratio:.2f}x the peer ({medians[0]:,.0f} against {medians[1]:,.0f} "
        f"images/s), {operations(medians[0] * flops)}, {share:.0%} of matrix products "
        f"({operations(statistics.median(wall))})",
        flush=True,
    )


def main() -> None:
    """Print a line a network and batch."""
    compute = choose_compute("auto", "auto")
    compare(Case(32, 1, parameters("base"), compute))
    compare(Case(32, 1, parameters("paper", batch_size=32), compute))
    compare(Case(28, 1, parameters("digits28"), compute))
    compare(Case(64, 3, parameters("images64"), compute))
    for batch_size in (64, 128, *((256, 512, 1024) if compute.device.type == "cuda" else ())):
        compare(Case(64, 3, parameters("faces64", batch_size=batch_size), compute))


if __name__ == "__main__":
    main()
