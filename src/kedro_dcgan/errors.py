"""How a command ends early: with an error that a user can fix, or interrupted by a signal.

The command line prints errors without a traceback. Every message is one line: "`<name>` must be <rule> (got <value>).
<remedy>." SIGINT (Ctrl-C) and SIGTERM end with the exit code that a shell expects (128 + the signal's number).
"""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType


class DcganError(Exception):
    """Base class of all errors that this package raises on purpose."""


class ParameterError(DcganError):
    """A parameter is unknown, has the wrong type or is out of range."""


class SourceError(DcganError):
    """The source of the images is missing or unusable."""


class UnusableImageError(DcganError):
    """One image cannot be used. `reason` is one of `data.verdicts.Reason`."""

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


class StopRequest:
    """Set by a signal; a loop checks it where it can stop."""

    signal_number: int | None = None

    def is_set(self) -> bool:
        """Return whether to stop."""
        return self.signal_number is not None


@contextmanager
def stop_on_signal() -> Iterator[StopRequest]:
    """Request a stop at the first SIGINT or SIGTERM; raise `Interrupted` at the second.

    Outside the main thread this does nothing, because Python allows signal handlers only there.
    """
    request = StopRequest()

    def request_stop(number: int, frame: FrameType | None) -> None:
        if request.is_set():
            raise Interrupted(number)
        request.signal_number = number

    with _handled_by(request_stop):
        yield request


@contextmanager
def interrupted_by_signal() -> Iterator[None]:
    """Raise `Interrupted` at SIGINT or SIGTERM, so that context managers can clean up."""

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise Interrupted(number)

    with _handled_by(interrupt):
        yield


@contextmanager
def _handled_by(handler: "signal._HANDLER") -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    previous = {number: signal.signal(number, handler) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, former in previous.items():
            signal.signal(number, former)
