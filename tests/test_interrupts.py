import os
import signal

import pytest

from kedro_dcgan.interrupts import Interrupted, interrupted_by_signal, stop_on_signal

SIGNALS = [(signal.SIGINT, 130), (signal.SIGTERM, 143)]


def handlers():
    return [signal.getsignal(number) for number, _ in SIGNALS]


@pytest.mark.parametrize(("number", "code"), SIGNALS)
def test_the_first_signal_asks_and_the_second_stops_at_once(number, code):
    before = handlers()
    with pytest.raises(Interrupted) as caught, stop_on_signal() as request:
        assert not request.is_set()
        os.kill(os.getpid(), number)
        assert request.is_set()
        assert request.signal_number == number
        os.kill(os.getpid(), number)
    assert caught.value.exit_code == code
    assert handlers() == before


@pytest.mark.parametrize(("number", "code"), SIGNALS)
def test_a_signal_ends_what_cannot_be_asked(number, code):
    before = handlers()
    with pytest.raises(KeyboardInterrupt) as caught, interrupted_by_signal():
        os.kill(os.getpid(), number)
    assert caught.value.exit_code == code
    assert handlers() == before
