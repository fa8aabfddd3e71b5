"""The training engine: the loop, the step, and what they are made of.

The clock is `images_seen`, the number of real images shown so far. Everything random is a function of the
seed and of this clock, so that training can begin at any of its moments.
"""
