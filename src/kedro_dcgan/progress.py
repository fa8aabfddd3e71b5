"""Progress of long jobs: wrap an iterable in `track`, or move a bar of `progress_bar` yourself.

Bars are shown on standard error, and only in a terminal. Elsewhere, and while no bar is open, a `Heartbeat` logs a line
whenever nothing was logged for 20 seconds.
"""

import logging
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, ClassVar, TypeVar

from tqdm import tqdm
from tqdm.contrib.logging import logging_redirect_tqdm

logger = logging.getLogger(__name__)

T = TypeVar("T")

_BAR = "{desc:<13} {percentage:3.0f}%|{bar:28}| {n_fmt}/{total_fmt} {unit}  {rate_fmt}  {arithmetic}{remaining} left"


class Bar(tqdm):  # type: ignore[type-arg]  # not generic at run time
    """A progress bar counted in images. With `flops`, the FLOPs per image, it also shows FLOP/s."""

    # Those that are not closed, the innermost last.
    opened: ClassVar[list["Bar"]] = []

    def __init__(self, label: str, total: int | None, done: int = 0, flops: float | None = None) -> None:
        self._flops, self._label = flops, label.strip()
        bar_format = _BAR if total else None
        super().__init__(
            desc=label, total=total, initial=done, unit="images", bar_format=bar_format, leave=False, disable=None
        )
        self.opened.append(self)

    def update(self, n: float | None = 1) -> bool | None:
        """Advance by `n` images, also if the bar is not shown."""
        if self.disable:
            self.n += n or 0
        return super().update(n)

    def close(self) -> None:
        """Remove the bar."""
        # (Bars are equal if they are at the same position.)
        self.opened[:] = [bar for bar in self.opened if bar is not self]
        super().close()

    def describe(self) -> str:
        """Return the progress in words: `ingestion: 45 %, 90 of 200 images`."""
        if not self.total:
            return f"{self._label}: {self.n:,} images"
        return f"{self._label}: {self.n / self.total:.0%}, {self.n:,} of {self.total:,} images"

    @property
    def format_dict(self) -> dict[str, Any]:
        """The values for the fields of the bar's format."""
        values = dict(super().format_dict)
        images = values["n"] - values["initial"]
        rate = values["rate"] or (images / values["elapsed"] if values["elapsed"] else 0)
        values["arithmetic"] = f"{operations(rate * self._flops)}  " if self._flops and rate else ""
        return values

    def begin_at(self, count: int) -> None:
        """Start with `count` images that do not count for the speed."""
        self.n = self.initial = count
        if not self.disable:
            self.last_print_n, self.start_t, self.last_print_t = count, time.time(), time.time()

    def reach(self, count: int) -> None:
        """Advance to `count` images in total; never move back."""
        if count > self.n:
            self.update(count - self.n)


def operations(flops_per_second: float) -> str:
    """Format FLOP/s for people: 95 GFLOP/s, 12.3 TFLOP/s."""
    if flops_per_second >= 1e12:
        return f"{flops_per_second / 1e12:.1f} TFLOP/s"
    return f"{flops_per_second / 1e9:.{0 if flops_per_second >= 1e10 else 1}f} GFLOP/s"


def short_images(count: int) -> str:
    """Format a number of images: 62.4 kimg, but 44 images."""
    return f"{count / 1000:.1f} kimg" if count >= 1000 else f"{count} images"


class Heartbeat(logging.Handler):
    """A thread that logs the progress whenever this package has logged nothing for `seconds`, unless a bar shows it."""

    def __init__(self, seconds: float = 20.0) -> None:
        super().__init__()
        # The part of the run that is reported if no bar is open.
        self.phase = "start"
        self._seconds, self._is_closed = seconds, threading.Event()
        self._begun = self._last = time.monotonic()
        logging.getLogger("kedro_dcgan").addHandler(self)
        threading.Thread(target=self._run, name="heartbeat", daemon=True).start()

    def emit(self, record: logging.LogRecord) -> None:
        """Note that a line was logged."""
        self._last = time.monotonic()

    def close(self) -> None:
        """Stop the thread."""
        self._is_closed.set()
        logging.getLogger("kedro_dcgan").removeHandler(self)
        super().close()

    def _run(self) -> None:
        while not self._is_closed.wait(max(0.0, self._last + self._seconds - time.monotonic())):
            bars = Bar.opened[:]
            if time.monotonic() - self._last < self._seconds:
                continue
            if any(not bar.disable for bar in bars):
                self._last = time.monotonic()
                continue
            # Also without a handler: the level of the log may hide the line.
            self._last = time.monotonic()
            progress = bars[-1].describe() if bars else self.phase
            logger.info("  %s, %d s since the start", progress, time.monotonic() - self._begun)


@contextmanager
def progress_bar(label: str, total: int | None, done: int = 0, flops: float | None = None) -> Iterator[Bar]:
    """Show a bar that the caller advances. Log lines are printed above it."""
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
    """Yield `items` and advance a bar by the `size` of each, from `done` to `total` images (None: unknown)."""
    with progress_bar(label, total, done, flops) as bar:
        for item in items:
            yield item
            bar.update(size(item))
