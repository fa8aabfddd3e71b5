"""Progress bars for long jobs: wrap an iterable in `track`, or move a bar of `progress_bar` yourself; and the console.

Bars are shown on standard error, and only in a terminal. Log files contain the log lines alone. After `set_up_console`,
no output to the console can stop a run.
"""

import io
import logging
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

from tqdm import tqdm
from tqdm.contrib.logging import logging_redirect_tqdm

T = TypeVar("T")

_BAR = "{desc:<13} {percentage:3.0f}%|{bar:28}| {n_fmt}/{total_fmt} {unit}  {rate_fmt}  {arithmetic}{remaining} left"


class Bar(tqdm):  # type: ignore[type-arg]  # not generic at run time
    """A progress bar counted in images. With `flops`, the FLOPs per image, it also shows FLOP/s."""

    def __init__(self, label: str, total: int | None, done: int = 0, flops: float | None = None) -> None:
        self._flops = flops
        bar_format = _BAR if total else None
        super().__init__(
            desc=label, total=total, initial=done, unit="images", bar_format=bar_format, leave=False, disable=None
        )

    @property
    def format_dict(self) -> dict[str, Any]:
        """The values for the fields of the bar's format."""
        values = dict(super().format_dict)
        images = values["n"] - values["initial"]
        rate = values["rate"] or (images / values["elapsed"] if values["elapsed"] else 0)
        values["arithmetic"] = f"{operations(rate * self._flops)}  " if self._flops and rate else ""
        return values

    def reach(self, count: int) -> None:
        """Advance to `count` images in total; never move back."""
        if count > self.n:
            self.update(count - self.n)


def operations(flops_per_second: float) -> str:
    """Format FLOP/s for people: 95 GFLOP/s, 12.3 TFLOP/s."""
    if flops_per_second >= 1e12:
        return f"{flops_per_second / 1e12:.1f} TFLOP/s"
    return f"{flops_per_second / 1e9:.{0 if flops_per_second >= 1e10 else 1}f} GFLOP/s"


class Console(io.TextIOWrapper):
    """A text stream that ignores errors: if its reader ends, as in `| head`, the rest of the output is discarded."""

    def write(self, text: str) -> int:
        """Write a text, or discard it."""
        with self._ignored_errors():
            super().write(text)
        return len(text)

    def flush(self) -> None:
        """Write the buffer, or discard it."""
        with self._ignored_errors():
            super().flush()

    @contextmanager
    def _ignored_errors(self) -> Iterator[None]:
        try:
            yield
        except OSError:
            # The buffer is kept after an error, and written again with the next text and at exit.
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, self.fileno())
            os.close(nowhere)


def set_up_console() -> None:
    """Make standard output and error tolerant: replace characters that their encoding lacks, and ignore errors."""
    for name, errors in (("stdout", "replace"), ("stderr", "backslashreplace")):
        stream = getattr(sys, name)
        if stream is None:
            # The process was started with the output closed.
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: PTH123, SIM115
        # Notebooks and tests have streams of their own.
        elif type(stream) is io.TextIOWrapper and stream is getattr(sys, f"__{name}__"):
            stream.flush()
            # Not its buffer, which would be closed twice. `python -u` has none.
            size, buffering = 0 if stream.write_through else -1, (stream.line_buffering, stream.write_through)
            output = open(stream.fileno(), "wb", size, closefd=False)  # noqa: SIM115
            console = Console(output, stream.encoding, errors, None, *buffering)
            setattr(sys, name, console)
            # Kedro has set up logging before.
            for handler in logging.getLogger().handlers:
                if isinstance(handler, logging.StreamHandler) and handler.stream is stream:
                    handler.setStream(console)


def restart_in_utf8_mode() -> None:
    """Restart this command in Python's UTF-8 mode if the locale has another encoding.

    Otherwise paths outside that encoding could be neither passed nor opened. The console keeps its encoding.
    """
    if sys.getfilesystemencoding() != "utf-8":
        os.environ.setdefault("PYTHONIOENCODING", getattr(sys.stdout, "encoding", "utf-8"))
        os.environ["PYTHONUTF8"] = "1"  # for processes that this one starts
        os.execv(sys.executable, [sys.executable, "-X", "utf8", *sys.orig_argv[1:]])  # noqa: S606


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
