"""Experiments of DVC that a test interrupts, and the moments at which it does."""

import os
import signal
import sys
import time
from pathlib import Path

from preloaded_kedro import preloaded_kedro
from projects import command_environment


def start_experiment(project, stage, *arguments):
    """Start an experiment, in which a stage runs the real `kedro`.

    A stage that is killed with its group needs it, because the processes of the fork server are in no such group.
    """
    programs = project.path.parent / f"programs of {stage}"
    programs.mkdir(exist_ok=True)
    real, forked = Path(sys.executable).with_name("kedro"), preloaded_kedro().program
    choice = f'case "$*" in *--pipelines={stage}*) exec {real} "$@";; *) exec {forked} "$@";; esac'
    (programs / "kedro").write_text(f"#!/bin/sh\n{choice}\n")
    (programs / "kedro").chmod(0o755)
    environment = command_environment()
    environment["PATH"] = f"{programs}{os.pathsep}{environment['PATH']}"
    return project.start("dvc", "exp", "run", *arguments, env=environment, start_new_session=True)


def checkpoints(project):
    return set(project.path.glob("data/06_models/[ce]*s/*/0*/checkpoint.json"))


def cached(project):
    return set(project.path.glob(".dvc/cache/files/md5/*/*"))


def has_checkpoint(project):
    return checkpoints(project) - project.before


def is_committing(project):
    # Of the outputs of this experiment, only the key of the MLflow run is not in the cache yet.
    return cached(project) - project.before


def is_evaluating(project):
    return (project.path / "data/08_reporting/.locks/evaluation.json.owner").exists()


def is_exporting(project):
    return (project.path / "data/08_reporting/.locks/progress.gif.owner").exists()


# Each experiment is interrupted several times, one after the other.
INTERRUPTIONS = {
    "by the terminal": (
        ("training", has_checkpoint, signal.SIGINT, "terminal"),
        ("training", has_checkpoint, signal.SIGTERM, "terminal"),
        ("evaluation", is_evaluating, signal.SIGKILL, "terminal"),
    ),
    "by kill": (
        ("training", has_checkpoint, signal.SIGKILL, "dvc"),
        ("training", is_committing, signal.SIGKILL, "terminal"),
        ("export", is_exporting, signal.SIGKILL, "terminal"),
    ),
}


def remove_half_written_lock(project):
    """Do what the page says about a DVC that was killed while it wrote this file."""
    lock = project.path / ".dvc/tmp/rwlock"
    if lock.exists() and not lock.read_text():
        lock.unlink()


def wait_for(condition, process):
    while not condition():
        assert process.poll() is None
        time.sleep(0.01)
