"""The SQLite file of MLflow is created whole, or not at all."""

import multiprocessing
import os
import signal
import time

import mlflow
import pytest

from kedro_dcgan.tracking.database import create_database, database_url


def files(folder):
    return sorted(path.name for path in folder.iterdir() if path.name != "locks")


def test_a_process_killed_meanwhile_leaves_no_half_database(tmp_path):
    url = database_url(tmp_path / "mlflow.db")
    context = multiprocessing.get_context("spawn")
    process = context.Process(target=create_database, args=(url, tmp_path / "locks"))
    process.start()
    # Kill it when MLflow has created its first tables.
    while not any(path.stat().st_size for path in tmp_path.glob(".mlflow.*.db")):
        assert process.is_alive()
        time.sleep(0.005)
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    assert not (tmp_path / "mlflow.db").exists()

    create_database(url, tmp_path / "locks")
    assert files(tmp_path) == ["mlflow.db"]
    assert [one.name for one in mlflow.MlflowClient(url).search_experiments()] == ["Default"]


def test_two_processes_create_one_database(tmp_path):
    url = database_url(tmp_path / "mlflow.db")
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=create_database, args=(url, tmp_path / "locks")) for _ in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0, 0]
    assert files(tmp_path) == ["mlflow.db"]


@pytest.mark.parametrize("server", ["http://localhost:5000", "postgresql://localhost/mlflow"])
def test_other_servers_are_left_alone(tmp_path, server):
    create_database(server, tmp_path / "locks")
    assert not list(tmp_path.iterdir())
