"""Training. Read `loop.py`, `step.py`, `losses.py`, `regularisation.py`, `augmentation.py` and `ema.py` first.

The clock is `images_seen`, the number of real images shown so far. All randomness is a function of the seed and the
clock, so a training can resume anywhere. `fast/` makes training fast; `distributed/` runs it in several processes.
"""
