"""The console: standard output and error that no character and no closed pipe can break.

After `set_up_console`, no output to the console can stop a run. `restart_in_utf8_mode` lets paths have any characters.
"""

import io
import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager


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
