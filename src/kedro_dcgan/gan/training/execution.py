"""How steps are executed: as they are written, or recorded (on a GPU), with networks as they are written, or compiled.

Which is faster is found out on the machine. It does not change what is computed, but the order of sums: a training
goes on as it was begun.
"""

import gc
import logging
import math
import time
from collections.abc import Mapping
from typing import Any

import torch

from kedro_dcgan.errors import ParameterError, in_short
from kedro_dcgan.gan.memory import require_memory
from kedro_dcgan.gan.training.graphs import STEPS_BEFORE
from kedro_dcgan.gan.training.plan import Plan
from kedro_dcgan.gan.training.state import Execution, TrainingState, start
from kedro_dcgan.gan.training.step import Step, cycle_of
from kedro_dcgan.parameters import TrainingParameters

logger = logging.getLogger(__name__)

_LEAST_TIMED = 4
# A GPU is timed for so long: its clock takes a while to rise, and a step of it is over in a blink.
_LEAST_SECONDS = {"cuda": 1.0}
# Other ways than the plain one, and how many seconds a training must take for them to be tried: recording takes a
# second, compiling a minute or two. They are asked to win more than what times vary by.
_OTHERS: dict[str, dict[Execution, float]] = {
    "cuda": {"graphed": 60, "compiled and graphed": 3600},
    "cpu": {"compiled": 3600},
    "mps": {},
}
_LEAST_GAIN = 1.03


def choose_execution(plan: Plan, training: TrainingParameters) -> Execution:
    """Return what is asked for or, for `auto`, what is fastest for this training, by a few steps of copies of it.

    Nothing but the plain way is taken where equal bits are asked for, for several ranks, where memory does not hold a
    copy, and for trainings so short that trying takes longer than it can win. Where compiling fails, a warning says so
    once.
    """
    wanted, others = training.compile, _OTHERS[plan.compute.device.type]
    is_plain = not wanted or plan.compute.ranks.count > 1 or (wanted == "auto" and training.deterministic)
    if is_plain or not others or not _has_room(plan, training):
        return "eager"
    if wanted != "auto":
        wanted_way = list(others)[-1]
        return wanted_way if _speed(plan, training, wanted_way) else "eager"
    speeds: dict[Execution, float] = {"eager": _images_per_second(plan, training, "eager")}
    seconds = plan.total_images / speeds["eager"]
    for way, least_seconds in others.items():
        speed = _speed(plan, training, way) if seconds >= least_seconds else None
        if speed:
            speeds[way] = speed
    chosen = max(speeds, key=lambda way: speeds[way] if way == "eager" else speeds[way] / _LEAST_GAIN)
    if len(speeds) > 1:
        found = ", ".join(f"{speed:.0f} {way}" for way, speed in speeds.items())
        logger.info("  calibration, images/s: %s · chosen: %s", found, chosen)
    return chosen


def execution_of(stored: Mapping[str, Any] | None, plan: Plan, training: TrainingParameters) -> Execution:
    """Return how a training goes on: as it was begun, if its stored state is from the same kind of device.

    Several ranks record nothing.
    """
    if stored is None or stored.get("device") != plan.compute.device.type:
        return choose_execution(plan, training)
    begun: Execution = stored["execution"]
    return "eager" if "graphed" in begun and plan.compute.ranks.count > 1 else begun


def execute(state: TrainingState, execution: Execution) -> None:
    """Let the steps of a state be executed so, from now on."""
    state.execution = execution
    for optimiser in (state.generator_optimiser, state.discriminator_optimiser):
        for group in optimiser.param_groups:
            group["capturable"] = "graphed" in execution
    if "compiled" in execution:
        state.generator.compile()
        state.discriminator.compile()


def steps_until_recorded(training: TrainingParameters) -> int:
    """Return after how many steps all that can be recorded is."""
    return cycle_of(training) * (STEPS_BEFORE + 1)


def _speed(plan: Plan, training: TrainingParameters, execution: Execution) -> float | None:
    try:
        return _images_per_second(plan, training, execution)
    except Exception as error:  # Compilers fail in many ways, and all of them are survived.
        logger.warning("  steps cannot be %s here, and are not (%s)", execution, in_short(error))
        return None
    finally:
        # The next copy, and the training itself, want the memory of this one.
        gc.collect()
        if plan.compute.device.type == "cuda":
            torch.cuda.empty_cache()


def _has_room(plan: Plan, training: TrainingParameters) -> bool:
    try:
        require_memory(plan.generator, plan.discriminator, training.images_at_once, plan.compute.device)
    except ParameterError:
        return False
    return True


def _images_per_second(plan: Plan, training: TrainingParameters, execution: Execution) -> float:
    state = start(plan.generator, plan.discriminator, training, plan.compute)
    execute(state, execution)
    step, device = Step(state, training, plan.compute), plan.compute.device
    shape = (training.batch_size, plan.generator.channels, plan.generator.image_size, plan.generator.image_size)
    images = torch.zeros(shape, device=device)
    # Whole cycles, for steps with a penalty take longer, after steps enough of each kind for it to be recorded.
    cycle = cycle_of(training)
    timed = cycle * math.ceil(_LEAST_TIMED / cycle)
    warm_up = steps_until_recorded(training) if "graphed" in execution else timed
    for _ in range(warm_up):
        step(images)
    while True:
        started = _now(device)
        for _ in range(timed):
            step(images)
        seconds = _now(device) - started
        if seconds >= _LEAST_SECONDS.get(device.type, 0):
            return timed * training.batch_size / seconds
        timed *= 2


def _now(device: torch.device) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()
