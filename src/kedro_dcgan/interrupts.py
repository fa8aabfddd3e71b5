"""SIGINT (Ctrl-C) and SIGTERM: finish what must not be cut in two, then stop with the code that a shell expects."""

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

_SIGNALS = signal.SIGINT, signal.SIGTERM


class Interrupted(KeyboardInterrupt):
    """A signal has ended the work; no handler of plain errors catches it."""

    def __init__(self, signal_number: int, message: str = "") -> None:
        super().__init__(message)
        self.exit_code = 128 + signal_number


class StopRequest:
    """Set by a signal, to be looked at where work may stop."""

    signal_number: int | None = None

    def is_set(self) -> bool:
        """Tell whether to stop."""
        return self.signal_number is not None


@contextmanager
def stop_on_signal() -> Iterator[StopRequest]:
    """Let the first SIGINT or SIGTERM only ask to stop; a second one stops at once.

    Python calls handlers in the main thread alone: elsewhere all stays as it is.
    """
    request = StopRequest()

    def ask(number: int, frame: FrameType | None) -> None:
        if request.is_set():
            raise Interrupted(number)
        request.signal_number = number

    with _handled_by(ask):
        yield request


@contextmanager
def interrupted_by_signal() -> Iterator[None]:
    """Let SIGTERM end the work as Ctrl-C does, with `Interrupted`, so that whatever is open can be closed."""

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise Interrupted(number)

    with _handled_by(interrupt):
        yield


@contextmanager
def _handled_by(handler: "signal._HANDLER") -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, handler) for number in _SIGNALS}
    try:
        yield
    finally:
        for number, former in before.items():
            signal.signal(number, former)
