"""Train, evaluate, compare and ship a DCGAN on your own images."""

__version__ = "0.2.0"
