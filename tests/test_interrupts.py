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
    assert str(caught.value) == ""
    assert handlers() == before


def test_second_signal_says_what_is_kept():
    with pytest.raises(Interrupted, match="at 20 images") as caught, stop_on_signal(at_once="at 0 images") as request:
        os.kill(os.getpid(), signal.SIGINT)
        request.at_once = "at 20 images"
        os.kill(os.getpid(), signal.SIGINT)
    assert caught.value.exit_code == 130


@pytest.mark.parametrize(("number", "code"), SIGNALS)
def test_signal_interrupts_and_handlers_are_restored(number, code):
    before = handlers()
    with pytest.raises(KeyboardInterrupt) as caught, stop_on_signal(immediately=True):
        os.kill(os.getpid(), number)
    assert caught.value.exit_code == code
    assert handlers() == before
