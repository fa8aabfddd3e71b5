"""SIGINT (Ctrl-C) and SIGTERM: stop cleanly, with the exit code that a shell expects (128 + the signal's number)."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

_SIGNALS = signal.SIGINT, signal.SIGTERM


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
    previous = {number: signal.signal(number, handler) for number in _SIGNALS}
    try:
        yield
    finally:
        for number, former in previous.items():
            signal.signal(number, former)
