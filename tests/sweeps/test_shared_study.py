"""Several machines share a sweep in a real PostgreSQL; each has its own folder."""

import multiprocessing
from pathlib import Path

import pytest
from projects import require_program
from servers import PostgresServer
from sweeps import pictures, tiny_sweep, training

from kedro_dcgan.errors import DataError
from kedro_dcgan.sweeps.study import open_study

pytestmark = [
    pytest.mark.slow,
    require_program("PostgreSQL", any(Path("/usr/lib/postgresql").glob("*/bin/initdb"))),
]
TRIALS = 6


@pytest.fixture(scope="module")
def server():
    made = PostgresServer().start()
    yield made
    made.stop()


def run_trials(folder, storage, ready, results):
    ready.wait()
    study = open_study(tiny_sweep(storage=storage, trials=TRIALS), training(), pictures(), folder)
    while True:
        with study.claim() as trial:
            if trial is None:
                return
            study.report(trial, {1: 5.0})
            study.finish(trial, "completed", 5.0 + trial.number, 96)
            results.put((folder.name, trial.number, trial.params["generator.learning_rate"]))


def test_machines_share_the_trials(server, tmp_path):
    context = multiprocessing.get_context("spawn")
    ready, results = context.Barrier(2), context.Queue()
    processes = [
        context.Process(target=run_trials, args=(tmp_path / name, server.address, ready, results)) for name in "ab"
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0, 0]
    study = open_study(tiny_sweep(storage=server.address, trials=TRIALS), training(), pictures(), tmp_path / "c")
    done = [results.get(timeout=10) for _ in study.trials()]
    assert sorted(number for _, number, _ in done) == list(range(len(done)))
    # Two machines may both see the last free place.
    assert TRIALS <= len(done) <= TRIALS + 1
    assert {trial.outcome for trial in study.trials()} == {"completed"}


def test_a_lost_database_ends_the_sweep_in_one_line_without_its_password(tmp_path):
    made = PostgresServer().start()
    study = open_study(tiny_sweep(storage=made.address), training(), pictures(), tmp_path)
    with study.claim() as trial:
        made.stop()
        with pytest.raises(DataError, match="database of the sweep") as caught:
            study.report(trial, {1: 5.0})
    assert "\n" not in str(caught.value)
    assert made.PASSWORD not in str(caught.value)
