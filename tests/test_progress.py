import io
import logging

import pytest

from kedro_dcgan.progress import operations, progress_bar, track


class Terminal(io.StringIO):
    def isatty(self):
        return True


def in_terminal(monkeypatch):
    # Within the test: before it, pytest puts its own back.
    terminal = Terminal()
    monkeypatch.setattr("sys.stderr", terminal)
    return terminal


@pytest.mark.parametrize(
    ("flops", "text"),
    [(9.46e8, "0.9 GFLOP/s"), (9.5e10, "95 GFLOP/s"), (1.25e12, "1.2 TFLOP/s"), (2.5e14, "250.0 TFLOP/s")],
)
def test_speeds_of_arithmetic_are_said_in_words(flops, text):
    assert operations(flops) == text


def test_a_bar_shows_images_arithmetic_and_the_time_left(monkeypatch):
    terminal = in_terminal(monkeypatch)
    with progress_bar("training", 1000, flops=1e9) as bar:
        bar.reach(200)
        bar.reach(100)  # What was said late is not gone back to.
        bar.refresh()
        assert bar.n == 200
    shown = terminal.getvalue()
    assert "training       20%" in shown
    assert "200/1000 images" in shown
    assert "FLOP/s" in shown
    assert "left" in shown


def test_what_was_done_before_counts_as_done_but_not_as_speed(monkeypatch):
    in_terminal(monkeypatch)
    with progress_bar("training", 1000, done=900, flops=1e9) as bar:
        assert "900/1000" in str(bar)
        assert bar.format_dict["arithmetic"] == ""


def test_tracking_changes_nothing_of_the_items_and_shows_no_bar_in_a_file(monkeypatch):
    file = io.StringIO()
    monkeypatch.setattr("sys.stderr", file)
    assert list(track(iter(["ab", "c"]), "digits", 3)) == ["ab", "c"]
    assert file.getvalue() == ""
    logging.getLogger("kedro_dcgan").debug("logging is as it was")
