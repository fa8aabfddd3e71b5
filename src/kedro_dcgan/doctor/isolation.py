"""Runs a check in a process of its own: a crash, a hang or a broken GPU context cannot affect the next one."""

import logging
import multiprocessing
import os
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Literal

import torch

# The end of a process's output that a failure shows.
_MOST_OUTPUT = 3000


class CheckFailed(Exception):  # noqa: N818  (a result, like `Skipped`)
    """A check has found a fault; the message says which. `output` is that of other programs, if any."""

    def __init__(self, message: str, output: str = "") -> None:
        super().__init__(message)
        self.output = output


class Skipped(Exception):  # noqa: N818
    """A check is impossible here; the message says why."""


@dataclass(frozen=True)
class Outcome:
    """The result of a check or a measurement.

    `summary` is the result in a sentence, or the reason for a failure or a skip. `value` is the return value, `log` the
    logged lines. `output` is the traceback of a failure, or the end of the output of its process.
    """

    status: Literal["passed", "failed", "skipped"]
    summary: str
    seconds: float
    value: Any = None
    log: list[str] = field(default_factory=list)
    output: str = ""


def run_isolated(function: Callable[..., Any], *arguments: Any, seconds: float) -> Outcome:
    """Run a function of a module in another process, for at most `seconds`; never raise its errors."""
    context, started = _context(), time.perf_counter()
    receiving, sending = context.Pipe(duplex=False)
    with tempfile.TemporaryDirectory(prefix="kedro-dcgan-doctor-") as folder:
        output = Path(folder) / "output.txt"
        process = context.Process(target=_run, args=(sending, str(output), function, arguments), daemon=True)
        process.start()
        sending.close()
        has_ended = False
        try:
            has_ended = receiving.poll(seconds)
            found: Outcome = receiving.recv() if has_ended else Outcome("failed", f"no result after {seconds:.0f} s", 0)
        except (EOFError, OSError):
            process.join()
            found = Outcome("failed", f"the process died ({_reason(process.exitcode or 0)})", 0)
            has_ended = True
        finally:
            # Let it remove its temporary files and semaphores.
            process.join(5 if has_ended else 0)
            process.kill()
            process.join()
        if found.status == "failed" and not found.output and output.is_file():
            text = output.read_text(encoding="utf-8", errors="replace").strip()[-_MOST_OUTPUT:]
            found = Outcome(found.status, found.summary, found.seconds, log=found.log, output=text)
    taken = time.perf_counter() - started
    return Outcome(found.status, found.summary, taken, found.value, found.log, found.output)


def _context() -> Any:
    """Return how to start processes: forked from a server that has imported torch, which takes seconds.

    With a GPU, each starts from scratch: CUDA works in a forked process only if nothing has touched it before.
    """
    if torch.cuda.is_available() or "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["kedro_dcgan.doctor.examination", "torch._dynamo"])
    return context


def _run(sending: Connection, output: str, function: Callable[..., Any], arguments: tuple[Any, ...]) -> None:
    """Run in the other process: send the outcome; keep all output out of the terminal."""
    file = os.open(output, os.O_WRONLY | os.O_CREAT)
    for stream in (1, 2):
        os.dup2(file, stream)
    # What a stopped process leaves is removed with this folder.
    tempfile.tempdir = str(Path(output).parent)
    with logged_lines() as lines:
        sending.send(outcome_of(function, *arguments, log=lines))
    sys.stdout.flush()


def outcome_of(function: Callable[..., Any], *arguments: Any, log: list[str] | None = None) -> Outcome:
    """Run a function in this process; turn its errors into an outcome."""
    started = time.perf_counter()

    def outcome(status: Any, summary: str, value: Any = None, output: str = "") -> Outcome:
        return Outcome(status, summary, time.perf_counter() - started, value, log or [], output)

    try:
        value = function(*arguments)
    except CheckFailed as error:
        return outcome("failed", str(error), output=error.output[-_MOST_OUTPUT:])
    except Skipped as error:
        return outcome("skipped", str(error))
    except Exception as error:
        lines = str(error).strip().splitlines() or [""]
        return outcome("failed", f"{type(error).__name__}: {lines[0]}", output=traceback.format_exc()[-_MOST_OUTPUT:])
    return outcome("passed", str(value), value)


@contextmanager
def logged_lines() -> Iterator[list[str]]:
    """Collect the lines that this package logs."""
    logger, lines = logging.getLogger("kedro_dcgan"), _Lines()
    level = logger.level
    logger.addHandler(lines)
    logger.setLevel(logging.INFO)
    try:
        yield lines.texts
    finally:
        logger.removeHandler(lines)
        logger.setLevel(level)


def _reason(code: int) -> str:
    return signal.Signals(-code).name if code < 0 else f"exit code {code}"


class _Lines(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self.texts: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.texts.append(record.getMessage().strip())
