"""One training, in this process or in several.

`here` trains in the process that calls it. `elsewhere` has `worker` processes do so, started by PyTorch's elastic
launcher or by a torchrun of the user's own, and hands over what the first of them sends. Whoever runs a training
gets the same ticks from both.
"""
