"""What a training says of itself: how it starts, a line a tick, a warning when its health changes, how it ends."""

import logging
import time

from kedro_dcgan.gan.training.health import HEALTHY, advice_for, verdict
from kedro_dcgan.gan.training.loop import Tick
from kedro_dcgan.gan.training.plan import Plan
from kedro_dcgan.gan.training.records import TickRecord
from kedro_dcgan.gan.training.state import TrainingState
from kedro_dcgan.parameters import TrainingParameters
from kedro_dcgan.pipelines.training.validation import Validation

logger = logging.getLogger(__name__)


class Console:
    """Knows when it started, and so how long it is going to take."""

    def __init__(self, plan: Plan, training: TrainingParameters, begin: int) -> None:
        self._plan, self._begin, self._started, self._health = plan, begin, time.perf_counter(), HEALTHY
        self._resume = training.resume
        length = f"{plan.total_images / 1000:.1f} kimg"
        if training.kimg is None:
            length = f"{length}, {training.epochs:g} epochs"
        logger.info("training      %s · %s", plan.compute, length)
        if begin >= plan.total_images:
            logger.info("  this very training is finished: nothing is left to do (training.resume=never does it again)")
        elif begin:
            logger.info("  goes on from %.1f kimg", begin / 1000)

    def show(self, tick: Tick) -> None:
        """Print the line of a tick; warn where the health has changed for the worse."""
        if tick.record is None:
            return
        health = tick.record.health
        logger.info("  %s  %s left  %s", _numbers(tick.record), self._time_left(tick.images_seen), health)
        if health not in (HEALTHY, self._health):
            logger.warning("  %s: %s. The best generator so far is kept.", health, advice_for(health))
        self._health = health

    def goodbye(self, state: TrainingState) -> str:
        """Return what is said after a signal."""
        how = "The same command" if self._resume != "never" else "The same command without training.resume=never"
        return f"stopped and saved at {state.images_seen / 1000:.1f} kimg. {how} goes on from here."

    def sum_up(self, state: TrainingState, validation: Validation | None) -> None:
        """Print what has come of it."""
        said = [f"{state.images_seen / 1000:.1f} kimg", verdict(state.records)]
        if state.best and validation:
            best = f"{validation.name} {state.best.validation:.1f}"
            said.append(f"best at {state.best.images_seen / 1000:.1f} kimg with {best}")
        if validation and validation.seconds:
            share = validation.seconds / (time.perf_counter() - self._started)
            said.append(f"{share:.0%} of the time for validation")
        logger.info("trained       %s", " · ".join(said))

    def _time_left(self, images_seen: int) -> str:
        done = max(1, images_seen - self._begin)
        seconds = (time.perf_counter() - self._started) / done * (self._plan.total_images - images_seen)
        minutes, seconds = divmod(round(seconds), 60)
        hours, minutes = divmod(minutes, 60)
        return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {seconds:02d} s"


def _numbers(record: TickRecord) -> str:
    speed = f"{record.images_per_second:,.{0 if record.images_per_second >= 10 else 1}f}"
    distance = "" if record.validation is None else f"fd {record.validation:.0f}  "
    return (
        f"{record.images_seen / 1000:6.1f} kimg  D {record.discriminator_loss:.2f}  G {record.generator_loss:.2f}  "
        f"D right on {record.real_accuracy:4.0%} real {record.fake_accuracy:4.0%} fake  "
        f"diversity {record.diversity:.2f}  {distance}{speed} images/s"
    )
