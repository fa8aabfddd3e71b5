"""The errors of this package, and interruption by a signal.

The command line prints errors without a traceback. Every message is one line: "`<name>` must be <rule> (got <value>).
<remedy>." SIGINT (Ctrl-C) and SIGTERM end with the exit code that a shell expects (128 + the signal's number).
"""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType

_SIGNALS = signal.SIGINT, signal.SIGTERM


class DcganError(Exception):
    """Base class of all errors that this package raises on purpose."""


class ParameterError(DcganError):
    """A parameter is unknown, has the wrong type or is out of range."""


class SourceError(DcganError):
    """The source of the images is missing or unusable."""


class UnusableImageError(DcganError):
    """One image cannot be used. `reason` is one of `data.Reason`."""

    def __init__(self, reason: str, detail: str = "") -> None:
        super().__init__(reason, detail)
        self.reason = reason
        self.detail = detail


class DataError(DcganError):
    """Stored data are damaged, or do not fit the parameters."""


class DiskFullError(DataError):
    """The disk is full."""


class WorkerError(DcganError):
    """A worker process has died."""


class TrainingError(DcganError):
    """Training cannot start, continue or resume."""


class ModelError(DcganError):
    """A generator cannot be found or read."""


class RequestError(DcganError):
    """The served generator refuses a request: it is invalid, or too many wait. `status` is the HTTP status."""

    def __init__(self, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.status = status


class ComparisonError(DcganError):
    """Two results cannot be compared, because their protocols differ."""


class TrackingError(DcganError):
    """The tracking server cannot be reached or refuses a request."""


def in_short(error: BaseException) -> str:
    """Return the first line of an error's message, at most 120 characters, or its type if it has no message."""
    return (str(error).strip() or type(error).__name__).splitlines()[0][:120]


class Interrupted(KeyboardInterrupt):
    """Raised by a signal. `except Exception` does not catch it."""

    def __init__(self, signal_number: int, message: str = "") -> None:
        super().__init__(message)
        self.exit_code = 128 + signal_number


@dataclass
class StopRequest:
    """A flag that a signal sets and that loops check. `at_once` says what a second signal keeps."""

    at_once: str = ""
    signal_number: int | None = None

    def is_set(self) -> bool:
        """Return whether to stop."""
        return self.signal_number is not None


@contextmanager
def stop_on_signal(immediately: bool = False, at_once: str = "") -> Iterator[StopRequest]:
    """Request a stop at the first SIGINT or SIGTERM and raise `Interrupted` at the second, or `immediately`.

    The message of `Interrupted` is the `at_once` of the request.
    """
    request = StopRequest(at_once)

    def handle(number: int, frame: FrameType | None) -> None:
        if immediately or request.is_set():
            raise Interrupted(number, request.at_once)
        request.signal_number = number

    # Python allows signal handlers only in the main thread.
    in_main_thread = threading.current_thread() is threading.main_thread()
    previous = {number: signal.signal(number, handle) for number in _SIGNALS} if in_main_thread else {}
    try:
        yield request
    finally:
        for number, former in previous.items():
            signal.signal(number, former)
