"""Training steps on this machine: ours against the step of pytorch/examples' dcgan (`peer.py`), both in one run.

Both sides train the same networks on the same images; where a recipe penalises gradients, ours does that as well. Ours
runs as `kedro run` would now: in the precision and on the threads that were fastest when they were timed. The speeds of
the alternatives, measured in the same rounds, show whether that was right. The FLOP/s of ours are compared with the
rate of large matrix products in the same precision, measured between the rounds.

The last lines are measured next to a busy neighbour: a program that keeps one core busy, and a second training.

    python benchmarks/training_step.py [--rounds 5]
"""

import argparse
import logging
import multiprocessing
import statistics
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import replace

import torch
from peer import Peer
from sides import Case, Side, calibrated, parameters
from torch import Tensor

from kedro_dcgan.model.recipes import network_configs
from kedro_dcgan.progress import operations
from kedro_dcgan.training.costs import flops_per_image
from kedro_dcgan.training.devices import Compute, has_bfloat16
from kedro_dcgan.training.fast.execution import step_of
from kedro_dcgan.training.fast.profile import matrix_rate
from kedro_dcgan.training.threads import most_threads

# Size of the matrices that show whether a precision is emulated.
_SMALL = 512


def ours(case: Case) -> Callable[[Tensor], object]:
    """Make our step."""
    return step_of(case.started(), case.training, case.compute)


def peer(case: Case) -> Callable[[Tensor], object]:
    """Make the peer's step."""
    return Peer(network_configs(case.size, case.channels, case.training), case.compute.device)


def sides_of(case: Case) -> dict[str, Side]:
    """Start ours, the peer on all cores, and ours in the other precision and with other threads."""
    chosen = case.calibration
    sides = {
        "ours": Side(ours, case),
        "peer": Side(peer, replace(case, calibration=replace(chosen, threads=most_threads()))),
    }
    others = [replace(chosen, precision="float32" if chosen.precision == "bfloat16" else "bfloat16")]
    if chosen.device == "cpu":
        others += [replace(chosen, threads=count) for count in {1, most_threads()} - {chosen.threads}]
    for other in others:
        if other.precision == "float32" or not is_emulated(replace(case.compute, precision=other.precision)):
            sides[str(other)] = Side(ours, replace(case, calibration=other))
    return sides


def is_emulated(compute: Compute) -> bool:
    """Tell whether bfloat16 is much slower than float32: then a single step would take minutes."""
    if not has_bfloat16(compute.device.type):
        return True
    in_float32 = matrix_rate(replace(compute, precision="float32"), _SMALL, seconds=0.2)
    return matrix_rate(compute, _SMALL, seconds=0.2) < in_float32 / 3


def compare(case: Case, rounds: int) -> None:
    """Print one line on ours against the peer, and one on the alternatives."""
    sides = sides_of(case)
    speeds: dict[str, list[float]] = {name: [] for name in sides}
    rates = []
    for _ in range(rounds):
        take_turns(sides, speeds)
        rates.append(matrix_rate(case.compute))
    for side in sides.values():
        side.end()
    training = case.training
    flops = flops_per_image(*network_configs(case.size, case.channels, training), training)
    share = statistics.median(speed * flops / rate for speed, rate in zip(speeds["ours"], rates, strict=True))
    medians = {name: statistics.median(found) for name, found in speeds.items()}
    print(
        f"{title(case)} {case.calibration}: {ratio(speeds['ours'], speeds['peer'])} the peer ({medians['ours']:,.0f} "
        f"against {medians['peer']:,.0f} images/s), {operations(medians['ours'] * flops)}, {share:.0%} of matrix "
        f"products ({operations(statistics.median(rates))})",
        flush=True,
    )
    others = [f"{name} {medians[name]:,.0f}" for name in sides if name not in ("ours", "peer")]
    print(f"  alternatives, images/s: {' · '.join(others) or 'none'}", flush=True)


def take_turns(sides: dict[str, Side], speeds: dict[str, list[float]]) -> None:
    """Time each side once."""
    for name, side in sides.items():
        speeds[name].append(side.images_per_second())


def title(case: Case) -> str:
    """Return what is trained, in short."""
    training = case.training
    return (
        f"{case.size}x{case.size}x{case.channels} {training.architecture} width {training.generator.width} batch "
        f"{training.batch_size:>3}"
    )


def ratio(ones: list[float], others: list[float]) -> str:
    """Return the median of the ratios within a round, which is steady on a noisy machine."""
    return f"{statistics.median(one / other for one, other in zip(ones, others, strict=True)):.2f}x"


def compare_next_to_a_busy_program(alone: Case, rounds: int) -> None:
    """Print the speeds of ours, calibrated alone and calibrated there, and of the peer, all next to a busy program."""
    quiet = Side(ours, alone)
    speed_alone = max(quiet.images_per_second() for _ in range(rounds))
    with busy_program():
        there = calibrated(alone.size, alone.channels, alone.training)
        sides = {"ours": Side(ours, there), "calibrated alone": quiet, "peer": Side(peer, alone)}
        speeds: dict[str, list[float]] = {name: [] for name in sides}
        for _ in range(rounds):
            take_turns(sides, speeds)
    for side in sides.values():
        side.end()
    medians = {name: statistics.median(found) for name, found in speeds.items()}
    print(
        f"{title(alone)} next to a busy program, {there.calibration}: {ratio(speeds['ours'], speeds['peer'])} the peer "
        f"there ({medians['ours']:,.0f} against {medians['peer']:,.0f} images/s; {medians['calibrated alone']:,.0f} as "
        f"calibrated alone, {alone.calibration}; {speed_alone:,.0f} alone)",
        flush=True,
    )


def compare_two_at_once(alone: Case, rounds: int) -> None:
    """Print what two trainings that run at the same time reach together, of one alone."""
    first = Side(ours, alone)
    speed_alone = max(first.images_per_second() for _ in range(rounds))
    with busy_program():
        # What each of the two finds when the other one is busy.
        there = calibrated(alone.size, alone.channels, alone.training)
    together = []
    pair = [Side(ours, there), Side(ours, there)]
    for _ in range(rounds):
        for side in pair:
            side.begin()
        together.append(sum(side.result() for side in pair))
    for side in (first, *pair):
        side.end()
    both = statistics.median(together)
    print(
        f"{title(alone)} two trainings at once, each {there.calibration}: {both / speed_alone:.0%} of one alone "
        f"({both:,.0f} against {speed_alone:,.0f} images/s)",
        flush=True,
    )


@contextmanager
def busy_program():
    """Keep one core busy."""
    process = multiprocessing.get_context("spawn").Process(target=spin, daemon=True)
    process.start()
    try:
        yield
    finally:
        process.kill()
        process.join()


def spin() -> None:
    """Compute for ever."""
    while True:
        sum(range(100_000))


def main() -> None:
    """Print two lines a network and batch, and what a neighbour does."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    logging.basicConfig(format="%(message)s", level=logging.INFO)
    base = calibrated(32, 1, parameters("base"))
    compare(base, rounds)
    compare(calibrated(32, 1, parameters("paper", batch_size=32)), rounds)
    compare(calibrated(28, 1, parameters("digits28")), rounds)
    compare(calibrated(64, 3, parameters("images64")), rounds)
    sizes = (64, 128, 256, 512, 1024) if torch.cuda.is_available() else (64, 128)
    for batch_size in sizes:
        compare(calibrated(64, 3, parameters("faces64", batch_size=batch_size)), rounds)
    if base.calibration.device == "cpu":
        compare_next_to_a_busy_program(base, rounds)
        compare_two_at_once(base, rounds)


if __name__ == "__main__":
    main()
