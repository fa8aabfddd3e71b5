import os
import signal

import pytest

from kedro_dcgan.errors import Interrupted, stop_on_signal

SIGNALS = [(signal.SIGINT, 130), (signal.SIGTERM, 143)]


def handlers():
    return [signal.getsignal(number) for number, _ in SIGNALS]


@pytest.mark.parametrize(("number", "code"), SIGNALS)
def test_first_signal_requests_a_stop_and_second_one_interrupts(number, code):
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
def test_signal_interrupts_and_handlers_are_restored(number, code):
    before = handlers()
    with pytest.raises(KeyboardInterrupt) as caught, stop_on_signal(immediately=True):
        os.kill(os.getpid(), number)
    assert caught.value.exit_code == code
    assert handlers() == before
