"""Progress bars: wrap the iterable that feeds a long job, and the job needs to know nothing of it.

Bars go to standard error and only to a terminal; a log file gets the summary lines alone.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from tqdm import tqdm
from tqdm.contrib.logging import logging_redirect_tqdm

T = TypeVar("T")

_BAR = "{desc:<13} {percentage:3.0f}%|{bar:28}| {n_fmt}/{total_fmt} {unit}  {rate_fmt}  {arithmetic}{remaining} left"


class Bar(tqdm):  # type: ignore[type-arg]  # at run time it takes none
    """A bar of images, each of which takes so many FLOPs (nothing: it does not say)."""

    def __init__(self, label: str, total: int | None, done: int = 0, flops: float | None = None) -> None:
        self._flops = flops
        bar_format = _BAR if total else None
        super().__init__(
            desc=label, total=total, initial=done, unit="images", bar_format=bar_format, leave=False, disable=None
        )

    @property
    def format_dict(self) -> dict[str, Any]:
        """What the bar's format is filled with."""
        values = dict(super().format_dict)
        images = values["n"] - values["initial"]
        rate = values["rate"] or (images / values["elapsed"] if values["elapsed"] else 0)
        values["arithmetic"] = f"{operations(rate * self._flops)}  " if self._flops and rate else ""
        return values

    def reach(self, count: int) -> None:
        """Go on to so many images in all."""
        if count > self.n:
            self.update(count - self.n)


def operations(flops_per_second: float) -> str:
    """Return a speed of arithmetic in words: 95 GFLOP/s, 12.3 TFLOP/s."""
    if flops_per_second >= 1e12:
        return f"{flops_per_second / 1e12:.1f} TFLOP/s"
    return f"{flops_per_second / 1e9:.{0 if flops_per_second >= 1e10 else 1}f} GFLOP/s"


@contextmanager
def progress_bar(label: str, total: int | None, done: int = 0, flops: float | None = None) -> Iterator[Bar]:
    """Show a bar with rate and time left, whose owner moves it on; log lines meanwhile are printed above it."""
    with logging_redirect_tqdm(), Bar(label, total, done, flops) as bar:
        yield bar


def track(
    items: Iterable[T],
    label: str,
    total: int | None,
    size: Callable[[T], int] = len,  # type: ignore[assignment]
    done: int = 0,
    flops: float | None = None,
) -> Iterator[T]:
    """Yield `items` while showing a bar with rate and time left.

    `total` is counted in images (nothing: not known), of which `done` were there before; each item
    advances the bar by its `size`.
    """
    with progress_bar(label, total, done, flops) as bar:
        for item in items:
            yield item
            bar.update(size(item))
