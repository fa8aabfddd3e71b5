from step_timing import TimedStep, calibrated, parameters
from training_step import ours


def test_a_step_is_timed_in_another_process():
    step = TimedStep(ours, calibrated(16, 1, parameters("smoke")))
    assert step.images_per_second(1) > 0
    step.stop()
