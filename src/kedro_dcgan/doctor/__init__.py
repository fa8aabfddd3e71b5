"""The doctor examines a machine with the product's own code. It needs only the library part, and torch 2.9 or newer.

`python -m kedro_dcgan.doctor` runs it. This module imports nothing, so that the command line can name its parts.
"""

DEVICES = ("auto", "cpu", "cuda", "mps")
CHECK_NAMES = ("gradients", "execution", "options", "resume", "data", "ranks", "evaluation", "memory")
CHOICES, SPEED = "choices", "speed"
PARTS = (CHOICES, *CHECK_NAMES, SPEED)
# The time limit in minutes, by device. A measurement that would exceed it is skipped.
MINUTES = {"cuda": 10.0, "mps": 5.0, "cpu": 2.0}
