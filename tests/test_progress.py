import io
import logging
import time

import pytest

from kedro_dcgan.progress import Heartbeat, operations, progress_bar, short_images, track


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


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "0 images"), (44, "44 images"), (999, "999 images"), (1000, "1.0 kimg"), (62_448, "62.4 kimg")],
)
def test_small_counts_are_written_in_images(count, text):
    assert short_images(count) == text


@pytest.fixture
def heartbeat(caplog):
    """A heartbeat that misses a line after 0.1 seconds; `lines` are those that it has logged."""
    caplog.set_level(logging.INFO)
    beat = Heartbeat(seconds=0.1)
    beat.lines = lambda: [record.getMessage() for record in caplog.records if record.name == "kedro_dcgan.progress"]
    yield beat
    beat.close()


def wait_for(condition, seconds=5):
    end = time.monotonic() + seconds
    while not condition() and time.monotonic() < end:
        time.sleep(0.01)
    assert condition()


def test_a_silent_phase_is_named_again_and_again(heartbeat):
    heartbeat.phase = "train_generator"
    wait_for(lambda: len(heartbeat.lines()) >= 2)
    assert all(line.startswith("  train_generator, ") for line in heartbeat.lines())


def test_hidden_bars_are_described_the_innermost_first(heartbeat, monkeypatch):
    monkeypatch.setattr("sys.stderr", io.StringIO())
    with progress_bar("evaluation", None) as outer, progress_bar("  test images", 200, done=10) as bar:
        outer.update(1200)
        bar.update(90)
        wait_for(heartbeat.lines)
        assert heartbeat.lines()[0].startswith("  test images: 50%, 100 of 200 images, ")
        assert outer.describe() == "evaluation: 1,200 images"
        bar.close()
        wait_for(lambda: heartbeat.lines()[-1].startswith("  evaluation: 1,200 images, "))


def test_no_line_is_missed_while_others_are_logged_or_a_bar_is_shown(heartbeat, monkeypatch):
    for _ in range(10):
        logging.getLogger("kedro_dcgan.other").info("a tick")
        time.sleep(0.03)
    in_terminal(monkeypatch)
    with progress_bar("training", 100):
        time.sleep(0.3)
    assert heartbeat.lines() == []


def test_closed_heartbeat_is_silent(heartbeat):
    heartbeat.close()
    time.sleep(0.25)
    assert heartbeat.lines() == []
    assert heartbeat not in logging.getLogger("kedro_dcgan").handlers
