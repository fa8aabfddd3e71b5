"""How the networks are executed: as they are written, or compiled. Which is faster is found out on the machine.

It does not change what is computed, but the order of sums: a training goes on as it was begun.
"""

import logging
import time

import torch

from kedro_dcgan.errors import ParameterError
from kedro_dcgan.gan.memory import require_memory
from kedro_dcgan.gan.training.plan import Plan
from kedro_dcgan.gan.training.state import Execution, TrainingState, start
from kedro_dcgan.gan.training.step import Step
from kedro_dcgan.parameters import TrainingParameters

logger = logging.getLogger(__name__)

_WARM_UP, _TIMED = 2, 4
# Compiling takes a minute or two, and is asked to win more than what times vary by.
_LEAST_SECONDS, _LEAST_GAIN = 3600, 1.03


def choose_execution(plan: Plan, training: TrainingParameters) -> Execution:
    """Return what is asked for or, for `auto`, what is faster for this training, by a few steps of a copy of it.

    Nothing is compiled for a training of less than an hour, nor where equal bits are asked for, nor for several
    ranks, nor where memory does not hold the copy. Where compiling fails, a warning says so once.
    """
    wanted, ranks = training.compile, plan.compute.ranks.count
    if not wanted or ranks > 1 or (wanted == "auto" and training.deterministic) or not _has_room(plan, training):
        return "eager"
    eager = _images_per_second(plan, training, "eager") if wanted == "auto" else None
    if eager and plan.total_images / eager < _LEAST_SECONDS:
        return "eager"
    try:
        compiled = _images_per_second(plan, training, "compiled")
    except Exception as error:  # Compilers fail in many ways, and all of them are survived.
        fault = (str(error).strip() or type(error).__name__).splitlines()[0]
        logger.warning("  the networks cannot be compiled here, and are not (%s)", fault[:120])
        return "eager"
    if not eager:
        return "compiled"
    chosen: Execution = "compiled" if compiled > _LEAST_GAIN * eager else "eager"
    logger.info("  calibration: %.0f images/s eager, %.0f compiled: %s", eager, compiled, chosen)
    return chosen


def execute(state: TrainingState, execution: Execution) -> None:
    """Let the networks of a state be executed so, from now on."""
    state.execution = execution
    if execution == "compiled":
        state.generator.compile()
        state.discriminator.compile()


def _has_room(plan: Plan, training: TrainingParameters) -> bool:
    try:
        require_memory(plan.generator, plan.discriminator, training.batch_size, plan.compute.device)
    except ParameterError:
        return False
    return True


def _images_per_second(plan: Plan, training: TrainingParameters, execution: Execution) -> float:
    state = start(plan.generator, plan.discriminator, training, plan.compute)
    execute(state, execution)
    step, device = Step(state, training, plan.compute), plan.compute.device
    shape = (training.batch_size, plan.generator.channels, plan.generator.image_size, plan.generator.image_size)
    images = torch.zeros(shape, device=device)
    for number in range(_WARM_UP + _TIMED):
        if number == _WARM_UP:
            started = _now(device)
        step(images)
    return _TIMED * training.batch_size / (_now(device) - started)


def _now(device: torch.device) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()
