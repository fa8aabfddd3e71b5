"""A check in a process of its own: every way to end becomes an outcome, and nothing reaches the terminal."""

import logging
import os
import signal
import time

import pytest

from kedro_dcgan.doctor.isolation import CheckFailed, Skipped, run_isolated


def succeed(word):
    print("to the terminal?")
    logging.getLogger("kedro_dcgan.training").info("  a line of the log")
    return f"all {word}"


def fail():
    raise CheckFailed("the weights differ")


def skip():
    raise Skipped("there is no GPU")


def raise_an_error():
    raise RuntimeError("CUDA error: an illegal memory access\nmore lines")


def crash():
    os.write(2, b"free(): invalid pointer\n")
    os.kill(os.getpid(), signal.SIGSEGV)


def hang():
    print("waits for rank 1", flush=True)
    time.sleep(600)


@pytest.mark.parametrize("has_gpu", [False, True])
def test_result_comes_with_the_log_and_without_the_output(capfd, monkeypatch, has_gpu):
    monkeypatch.setattr("torch.cuda.is_available", lambda: has_gpu)
    outcome = run_isolated(succeed, "well", seconds=60)
    assert (outcome.status, outcome.summary, outcome.value) == ("passed", "all well", "all well")
    assert outcome.log == ["a line of the log"]
    assert outcome.seconds > 0
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("function", "status", "summary", "output"),
    [
        (fail, "failed", "the weights differ", ""),
        (skip, "skipped", "there is no GPU", ""),
        (raise_an_error, "failed", "RuntimeError: CUDA error: an illegal memory access", "in raise_an_error"),
        (crash, "failed", "the process died (SIGSEGV)", "free(): invalid pointer"),
    ],
)
def test_ends_are_told_apart(function, status, summary, output):
    outcome = run_isolated(function, seconds=60)
    assert (outcome.status, outcome.summary) == (status, summary)
    assert output in outcome.output


def test_hanging_check_is_stopped(capfd):
    outcome = run_isolated(hang, seconds=10)
    assert (outcome.status, outcome.summary, outcome.output) == ("failed", "no result after 10 s", "waits for rank 1")
