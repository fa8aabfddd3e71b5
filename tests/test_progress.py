import io

import pytest

from kedro_dcgan.progress import operations, progress_bar, track


class Terminal(io.StringIO):
    def isatty(self):
        return True


def in_terminal(monkeypatch):
    # Called within the test, because pytest replaces sys.stderr before each test.
    terminal = Terminal()
    monkeypatch.setattr("sys.stderr", terminal)
    return terminal


@pytest.mark.parametrize(
    ("flops", "text"),
    [(9.46e8, "0.9 GFLOP/s"), (9.5e10, "95 GFLOP/s"), (1.25e12, "1.2 TFLOP/s"), (2.5e14, "250.0 TFLOP/s")],
)
def test_flops_per_second_are_formatted_with_a_unit(flops, text):
    assert operations(flops) == text


def test_bar_shows_images_flops_and_remaining_time(monkeypatch):
    terminal = in_terminal(monkeypatch)
    with progress_bar("training", 1000, flops=1e9) as bar:
        bar.reach(200)
        bar.reach(100)  # A late count does not move the bar back.
        bar.refresh()
        assert bar.n == 200
    shown = terminal.getvalue()
    assert "training       20%" in shown
    assert "200/1000 images" in shown
    assert "FLOP/s" in shown
    assert "left" in shown


def test_resumed_images_count_as_progress_but_not_as_speed(monkeypatch):
    in_terminal(monkeypatch)
    with progress_bar("training", 1000, done=900, flops=1e9) as bar:
        assert "900/1000" in str(bar)
        assert bar.format_dict["arithmetic"] == ""


def test_track_yields_the_items_and_shows_no_bar_in_a_file(monkeypatch):
    file = io.StringIO()
    monkeypatch.setattr("sys.stderr", file)
    assert list(track(iter(["ab", "c"]), "digits", 3)) == ["ab", "c"]
    assert file.getvalue() == ""
