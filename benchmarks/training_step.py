"""Training steps on this machine: ours against that of pytorch/examples (`kedro_dcgan.doctor.peer`), both in one run.

Both sides train the same networks on the same images; where a recipe has a gradient penalty, only ours computes it.
Ours uses the calibrated precision and threads, like `kedro run`. The alternatives are timed in the same rounds and show
whether the calibration chose well. The FLOP/s of ours are compared with the rate of large matrix products in the same
precision, measured between the rounds.

The last lines are measured next to a program that keeps one core busy, and next to a second training.

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
from step_timing import Case, TimedStep, calibrated, parameters
from torch import Tensor

from kedro_dcgan.doctor.peer import Peer
from kedro_dcgan.model.recipes import network_configs
from kedro_dcgan.progress import operations
from kedro_dcgan.training.costs import flops_per_image
from kedro_dcgan.training.devices import Compute, has_bfloat16
from kedro_dcgan.training.fast.execution import step_of
from kedro_dcgan.training.fast.profile import matrix_rate
from kedro_dcgan.training.threads import most_threads

# Size of the matrix products that show whether a precision is emulated.
_SMALL = 512


def ours(case: Case) -> Callable[[Tensor], object]:
    """Build our step; a conditional one gets images of all classes."""
    step = step_of(case.new_state(), case.training, case.compute)
    if not case.class_shares:
        return step
    classes = torch.arange(case.training.batch_size, device=case.compute.device) % len(case.class_shares)
    return lambda images: step(images, classes)


def peer(case: Case) -> Callable[[Tensor], object]:
    """Build the peer's step."""
    return Peer(network_configs(case.size, case.channels, case.training), case.compute.device)


def timed_steps(case: Case) -> dict[str, TimedStep]:
    """Start ours, the peer on all cores, and ours in the other precision and with other numbers of threads."""
    chosen = case.calibration
    sides = {
        "ours": TimedStep(ours, case),
        "peer": TimedStep(peer, replace(case, calibration=replace(chosen, threads=most_threads()))),
    }
    others = [replace(chosen, precision="float32" if chosen.precision == "bfloat16" else "bfloat16")]
    if chosen.device == "cpu":
        others += [replace(chosen, threads=count) for count in {1, most_threads()} - {chosen.threads}]
    for other in others:
        if other.precision == "float32" or not is_emulated(replace(case.compute, precision=other.precision)):
            sides[str(other)] = TimedStep(ours, replace(case, calibration=other))
    return sides


def is_emulated(compute: Compute) -> bool:
    """Tell whether bfloat16 is emulated, so that a single step would take minutes."""
    if not has_bfloat16(compute.device.type):
        return True
    in_float32 = matrix_rate(replace(compute, precision="float32"), _SMALL, seconds=0.2)
    return matrix_rate(compute, _SMALL, seconds=0.2) < in_float32 / 3


def compare(case: Case, rounds: int) -> None:
    """Print a line on ours against the peer, and one on the alternatives."""
    sides = timed_steps(case)
    speeds: dict[str, list[float]] = {name: [] for name in sides}
    rates = []
    for _ in range(rounds):
        time_round(sides, speeds)
        rates.append(matrix_rate(case.compute))
    for side in sides.values():
        side.stop()
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


def time_round(sides: dict[str, TimedStep], speeds: dict[str, list[float]]) -> None:
    """Time each side once."""
    for name, side in sides.items():
        speeds[name].append(side.images_per_second())


def title(case: Case) -> str:
    """Return a short description of the training."""
    training = case.training
    return (
        f"{case.size}x{case.size}x{case.channels} {training.architecture} width {training.generator.width} batch "
        f"{training.batch_size:>3}"
    )


def ratio(ones: list[float], others: list[float]) -> str:
    """Return the median of the ratios within rounds, which is robust on a noisy machine."""
    return f"{statistics.median(one / other for one, other in zip(ones, others, strict=True)):.2f}x"


def compare_with_classes(plain: Case, rounds: int, count: int = 10) -> None:
    """Print the speed of a conditional training, relative to that without classes."""
    training = plain.training.model_copy(update={"conditional": True})
    shares = {str(number): 1 / count for number in range(count)}
    sides = {
        "classes": TimedStep(ours, replace(plain, training=training, class_shares=shares)),
        "plain": TimedStep(ours, plain),
    }
    speeds: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(rounds):
        time_round(sides, speeds)
    for side in sides.values():
        side.stop()
    print(
        f"{title(plain)} {plain.calibration}, {count} classes: {ratio(speeds['classes'], speeds['plain'])} the speed "
        f"without ({statistics.median(speeds['classes']):,.0f} against {statistics.median(speeds['plain']):,.0f} "
        "images/s)",
        flush=True,
    )


def compare_next_to_a_busy_program(alone: Case, rounds: int) -> None:
    """Print the speeds next to a busy program: ours calibrated there, ours calibrated alone, and the peer."""
    alone_step = TimedStep(ours, alone)
    speed_alone = max(alone_step.images_per_second() for _ in range(rounds))
    with busy_program():
        busy = calibrated(alone.size, alone.channels, alone.training)
        sides = {"ours": TimedStep(ours, busy), "calibrated alone": alone_step, "peer": TimedStep(peer, alone)}
        speeds: dict[str, list[float]] = {name: [] for name in sides}
        for _ in range(rounds):
            time_round(sides, speeds)
    for side in sides.values():
        side.stop()
    medians = {name: statistics.median(found) for name, found in speeds.items()}
    print(
        f"{title(alone)} next to a busy program, {busy.calibration}: {ratio(speeds['ours'], speeds['peer'])} the peer "
        f"there ({medians['ours']:,.0f} against {medians['peer']:,.0f} images/s; {medians['calibrated alone']:,.0f} as "
        f"calibrated alone, {alone.calibration}; {speed_alone:,.0f} alone)",
        flush=True,
    )


def compare_two_concurrent_trainings(alone: Case, rounds: int) -> None:
    """Print the total speed of two concurrent trainings, relative to one alone."""
    first = TimedStep(ours, alone)
    speed_alone = max(first.images_per_second() for _ in range(rounds))
    with busy_program():
        # Calibrate next to a busy program, as each training would next to the other.
        busy = calibrated(alone.size, alone.channels, alone.training)
    together = []
    pair = [TimedStep(ours, busy), TimedStep(ours, busy)]
    for _ in range(rounds):
        for side in pair:
            side.start()
        together.append(sum(side.result() for side in pair))
    for side in (first, *pair):
        side.stop()
    both = statistics.median(together)
    print(
        f"{title(alone)} two concurrent trainings, each {busy.calibration}: {both / speed_alone:.0%} of one alone "
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
    """Compute forever."""
    while True:
        sum(range(100_000))


def main() -> None:
    """Print two lines per network and batch size, and the effects of classes and of other programs."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    rounds = parser.parse_args().rounds
    logging.basicConfig(format="%(message)s", level=logging.INFO)
    base = calibrated(32, 1, parameters("base"))
    compare(base, rounds)
    compare_with_classes(base, rounds)
    compare(calibrated(32, 1, parameters("paper", batch_size=32)), rounds)
    compare(calibrated(28, 1, parameters("digits28")), rounds)
    compare(calibrated(64, 3, parameters("images64")), rounds)
    sizes = (64, 128, 256, 512, 1024) if torch.cuda.is_available() else (64, 128)
    for batch_size in sizes:
        compare(calibrated(64, 3, parameters("faces64", batch_size=batch_size)), rounds)
    if base.calibration.device == "cpu":
        compare_next_to_a_busy_program(base, rounds)
        compare_two_concurrent_trainings(base, rounds)


if __name__ == "__main__":
    main()
