"""Where images come from: one module a kind of source.

A source lists its inputs in blocks, in an order that depends on nothing but its content; a block is
read wherever the work is done. Nothing of a source is ever written to disk, and no name in it is ever
used as a path to write to.
"""

from kedro_dcgan.data.sources.opening import open_source
from kedro_dcgan.data.sources.source import Limits, Source

__all__ = ["Limits", "Source", "open_source"]
