"""Train, evaluate, compare and ship a DCGAN on your own images."""

__version__ = "0.1.0"
