"""Progress bars: wrap the iterable that feeds a long job, and the job needs to know nothing of it.

Bars go to standard error and only to a terminal; a log file gets the summary lines alone.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

from tqdm import tqdm
from tqdm.contrib.logging import logging_redirect_tqdm

T = TypeVar("T")

_BAR = "{desc:<13} {percentage:3.0f}%|{bar:28}| {n_fmt}/{total_fmt} {unit}  {rate_fmt}  {remaining} left"


def track(
    items: Iterable[T],
    label: str,
    total: int | None,
    size: Callable[[T], int] = len,  # type: ignore[assignment]
    done: int = 0,
) -> Iterator[T]:
    """Yield `items` while showing a bar with rate and time left.

    `total` is counted in images (nothing: not known), of which `done` were there before; each item
    advances the bar by its `size`. Log lines that appear meanwhile are printed above the bar.
    """
    with (
        logging_redirect_tqdm(),
        tqdm(
            desc=label,
            total=total,
            initial=done,
            unit="images",
            bar_format=_BAR if total else None,
            leave=False,
            disable=None,
        ) as bar,
    ):
        for item in items:
            yield item
            bar.update(size(item))
