"""Progress bars: wrap the iterable that feeds a long job, and the job needs to know nothing of it.

Bars go to standard error and only to a terminal; a log file gets the summary lines alone.
"""

from collections.abc import Iterable, Iterator
from typing import TypeVar

from tqdm import tqdm
from tqdm.contrib.logging import logging_redirect_tqdm

T = TypeVar("T")

_BAR = "{desc:<13} {percentage:3.0f}%|{bar:28}| {n_fmt}/{total_fmt} {unit}  {rate_fmt}  {remaining} left"


def track(items: Iterable[T], label: str, total: int, step: int = 1) -> Iterator[T]:
    """Yield `items` while showing a bar with rate and time left.

    `total` is counted in images; each item advances the bar by `step` of them. Log lines that
    appear meanwhile are printed above the bar.
    """
    with (
        logging_redirect_tqdm(),
        tqdm(desc=label, total=total, unit="images", bar_format=_BAR, leave=False, disable=None) as bar,
    ):
        for item in items:
            yield item
            bar.update(min(step, total - bar.n))
