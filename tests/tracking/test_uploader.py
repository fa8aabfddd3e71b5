"""A training never waits for the server. It may be down, slow or failing, and gets all records once it works."""

import logging
import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import ExitStack
from dataclasses import replace
from types import SimpleNamespace

import mlflow
import pynvml
import pytest
from PIL import Image
from servers import FaultyServer, Proxy, free_port, wait_until

import kedro_dcgan.settings  # noqa: F401  (configures MLflow, above all its retries)
from kedro_dcgan.errors import DiskFullError, TrackingError
from kedro_dcgan.tracking import uploader
from kedro_dcgan.tracking.connection import TrackingSettings
from kedro_dcgan.tracking.journal import Journal, RunIdentity, UploadState, milliseconds
from kedro_dcgan.tracking.records import MlflowRun
from kedro_dcgan.tracking.run import SystemMetrics, TrackedRun
from kedro_dcgan.tracking.uploader import pending_journals, upload_journal

STEPS = 40


def settings_at(address, folder):
    return TrackingSettings(
        server=address,
        artifact_location=None,
        journals=folder / "journals",
        experiment="tests",
        run_name=None,
        system_metrics_seconds=0,
        ui_port=5000,
    )


def steps_at(address, run_id):
    history = mlflow.MlflowClient(address).get_metric_history(run_id, "discriminator_loss")
    return [metric.step for metric in history]


def log_steps(run, steps):
    """Log steps; return the duration of the slowest one in seconds."""
    longest = 0.0
    for step in steps:
        started = time.perf_counter()
        run.log_tick({"discriminator_loss": 1 / step, "generator_loss": 2 / step}, step)
        longest = max(longest, time.perf_counter() - started)
    return longest


@pytest.mark.slow
def test_a_killed_and_restarted_server_gets_every_record_once(server, tmp_path, identity, caplog):
    server.start()
    settings = settings_at(server.address, tmp_path)
    run = TrackedRun(settings, identity)
    journal = Journal.create(settings.journals, identity)
    log_steps(run, range(1, STEPS))
    wait_until(lambda: journal.upload_state(settings.shown_server).offset > 0, 30)
    server.kill()
    with caplog.at_level(logging.WARNING, "kedro_dcgan"):
        assert log_steps(run, range(STEPS, 2 * STEPS)) < 1.0
        wait_until(lambda: "Cannot upload to MLflow" in caplog.text, 30)
    server.start()
    log_steps(run, range(2 * STEPS, 3 * STEPS))
    run.close("FINISHED")
    run_id = journal.upload_state(settings.shown_server).run_id
    assert steps_at(server.address, run_id) == list(range(1, 3 * STEPS))
    assert mlflow.MlflowClient(server.address).get_run(run_id).info.status == "FINISHED"
    # One warning for all failures.
    assert caplog.text.count("Cannot upload to MLflow") == 1


def test_the_pauses_between_attempts_double_up_to_a_minute(settings, identity, monkeypatch):
    pauses = []

    class RecordingEvent(threading.Event):
        def wait(self, timeout=None):
            if timeout is None:
                return super().wait()
            pauses.append(timeout)
            if len(pauses) == 9:
                self.set()
            return self.is_set()

    def fail(settings):
        raise OSError("away")

    monkeypatch.setattr(uploader, "connect", fail)
    monkeypatch.setattr(uploader, "threading", SimpleNamespace(Event=RecordingEvent, Thread=threading.Thread))
    running = uploader.Uploader(Journal.create(settings.journals, identity), settings)
    running.start()
    wait_until(lambda: not running._thread.is_alive(), 30)
    assert pauses == [1, 2, 4, 8, 16, 32, 60, 60, 60]


def test_a_server_that_fails_once_at_the_end_gets_every_record(settings, identity, monkeypatch, caplog):
    run = TrackedRun(settings, identity)
    journal = Journal.create(settings.journals, identity)
    wait_until(lambda: journal.is_uploaded(settings.shown_server), 30)
    original, calls = mlflow.MlflowClient.set_terminated, []

    def fail_once(*arguments):
        calls.append(arguments)
        if len(calls) == 1:
            raise OSError("once")
        return original(*arguments)

    monkeypatch.setattr(mlflow.MlflowClient, "set_terminated", fail_once)
    run.close("FINISHED")
    assert journal.is_uploaded(settings.shown_server)
    assert len(calls) == 2


def test_the_next_run_uploads_the_records_of_a_run_without_a_server(server, tmp_path, identity, caplog):
    settings = settings_at(server.address, tmp_path)
    first = TrackedRun(settings, identity)
    log_steps(first, range(1, STEPS))
    started = time.monotonic()
    first.close("FINISHED")
    assert time.monotonic() - started < 30
    assert "kedro dcgan sync" in caplog.text
    server.start()
    second = TrackedRun(settings, RunIdentity("b" * 32, "tests", "the next", milliseconds()))
    log_steps(second, [5])
    wait_until(lambda: all(one.is_uploaded(settings.shown_server) for one in Journal.find_all(settings.journals)), 60)
    second.close("FAILED")
    client = mlflow.MlflowClient(server.address)
    runs = client.search_runs([client.get_experiment_by_name("tests").experiment_id])
    assert {run.info.run_name: run.info.status for run in runs} == {"a run": "FINISHED", "the next": "FAILED"}
    ids = {run.info.run_name: run.info.run_id for run in runs}
    assert steps_at(server.address, ids["a run"]) == list(range(1, STEPS))
    assert all(one.is_uploaded(settings.shown_server) for one in Journal.find_all(settings.journals))


@pytest.mark.slow
def test_a_run_is_not_created_twice_if_the_response_is_lost(server, tmp_path, identity):
    server.start()
    proxy = Proxy(server.address, loses_once="/api/2.0/mlflow/runs/create")
    settings = settings_at(proxy.address, tmp_path)
    run = TrackedRun(settings, identity)
    log_steps(run, [1])
    wait_until(lambda: Journal.create(settings.journals, identity).is_uploaded(settings.shown_server), 30)
    run.close("FINISHED")
    proxy.stop()
    client = mlflow.MlflowClient(server.address)
    (made,) = client.search_runs([client.get_experiment_by_name("tests").experiment_id])
    assert steps_at(server.address, made.info.run_id) == [1]


def test_closing_waits_for_another_process_that_uploads_the_same_journal(settings, identity):
    held = ExitStack()
    assert held.enter_context(Journal.create(settings.journals, identity).lock("sending"))
    run = TrackedRun(settings, identity)
    log_steps(run, [1])
    threading.Timer(3, held.close).start()
    run.close("FINISHED")
    assert Journal.create(settings.journals, identity).is_uploaded(settings.shown_server)


@pytest.mark.parametrize(("status", "seconds"), [(500, 0), (503, 0), (401, 0), (507, 0), (200, 30)])
def test_a_failing_or_slow_server_does_not_block_and_loses_no_record(status, seconds, tmp_path, identity, monkeypatch):
    monkeypatch.setattr("kedro_dcgan.tracking.uploader._RECORD_TIMEOUT", 2.0)
    faulty = FaultyServer(status, seconds)
    settings = settings_at(faulty.address, tmp_path)
    run = TrackedRun(settings, identity)
    assert log_steps(run, range(1, STEPS)) < 1.0
    started = time.monotonic()
    run.close("FINISHED")
    assert time.monotonic() - started < 20
    journal = Journal.create(settings.journals, identity)
    assert not journal.is_uploaded(settings.shown_server)
    history = [record["step"] for record, _ in journal.records() if record["kind"] == "metrics"]
    assert history == list(range(1, STEPS))
    if seconds:
        # The slow request is still running, and it holds the lock.
        return
    # Another server gets all records.
    working = settings_at(f"sqlite:///{tmp_path}/mlflow.db", tmp_path)
    monkeypatch.chdir(tmp_path)
    list(upload_journal(journal, working))
    assert steps_at(working.server, journal.upload_state(working.shown_server).run_id) == list(range(1, STEPS))
    faulty.stop()


def test_a_killed_run_is_marked_killed_and_can_be_resumed(tmp_path, settings, identity):
    code = (
        "import sys, time\n"
        "from kedro_dcgan.tracking.journal import RunIdentity\n"
        "from kedro_dcgan.tracking.run import TrackedRun\n"
        "from kedro_dcgan.tracking.connection import TrackingSettings\n"
        f"settings = TrackingSettings.model_validate_json({settings.model_dump_json()!r})\n"
        f"run = TrackedRun(settings, RunIdentity({identity.key!r}, 'tests', 'a run', {identity.created}))\n"
        "for step in range(1, 1000):\n"
        "    run.log_tick({'discriminator_loss': 1 / step}, step)\n"
        "    print(step, flush=True)\n"
        "    time.sleep(0.01)\n"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as other:
        for _ in range(30):
            other.stdout.readline()
        os.kill(other.pid, signal.SIGKILL)
    journal = Journal.create(settings.journals, identity)
    done = journal.last_step("is_history")
    assert done >= 30
    # The next run, of any training, records it.
    following = TrackedRun(settings, RunIdentity("b" * 32, "tests", "the next", milliseconds()))
    wait_until(lambda: journal.is_uploaded(settings.shown_server), 60)
    following.close("FINISHED")
    client = mlflow.MlflowClient(settings.server)
    run_id = journal.upload_state(settings.shown_server).run_id
    assert client.get_run(run_id).info.status == "KILLED"
    again = TrackedRun(settings, identity)
    assert again.last_step == done
    # Steps that the run has already are not logged again.
    log_steps(again, range(done - 5, done + 10))
    again.close("FINISHED")
    assert steps_at(settings.server, run_id) == list(range(1, done + 10))
    assert client.get_run(run_id).info.status == "FINISHED"


def test_a_journal_that_cannot_be_uploaded_blocks_neither_others_nor_the_run(settings, identity, caplog):
    journals = []
    for number, key in enumerate("abc"):
        journal = Journal.create(settings.journals, RunIdentity(key * 32, "tests", key, number))
        journal.add("tags", values={"a": "b"})
        journals.append(journal)
    # Its run does not exist.
    addition = Journal.create(settings.journals, RunIdentity("d" * 32, "tests", "", 0, must_exist=True))
    addition.add("tags", values={"a": "b"})
    run = TrackedRun(settings, identity)
    wait_until(lambda: all(one.is_uploaded(settings.shown_server) for one in journals), 60)
    own = Journal.create(settings.journals, identity)
    for step in (1, 2):
        log_steps(run, [step])
        wait_until(lambda: own.is_uploaded(settings.shown_server), 60)
        # Now the thread tries the other journals again.
        time.sleep(0.5)
    run.close("FINISHED")
    assert "Cannot upload to MLflow" not in caplog.text
    assert caplog.text.count(f"Cannot upload the records in {addition.folder}") == 1
    assert Journal.create(settings.journals, identity).is_uploaded(settings.shown_server)


def test_an_evaluation_is_uploaded_after_the_pending_records_of_its_training(settings, identity, caplog):
    training = Journal.create(settings.journals, identity)
    training.add("tags", values={"quality": "old"})
    training.add("status", status="FINISHED")
    evaluation = TrackedRun(settings, replace(identity, must_exist=True))
    evaluation.log_tags({"quality": "new"})
    evaluation.close("FINISHED")
    assert "Cannot upload to MLflow" not in caplog.text
    run_id = training.upload_state(settings.shown_server).run_id
    assert mlflow.MlflowClient(settings.server).get_run(run_id).data.tags["quality"] == "new"


def test_the_first_record_of_a_run_is_uploaded_before_other_journals(tmp_path, identity, monkeypatch, caplog):
    settings = settings_at(f"http://127.0.0.1:{free_port()}", tmp_path)
    other = Journal.create(settings.journals, RunIdentity("b" * 32, "tests", "another", 1))
    other.add("status", status="FINISHED")
    add = Journal.add

    def add_slowly(*arguments, **values):
        time.sleep(0.5)
        add(*arguments, **values)

    monkeypatch.setattr(Journal, "add", add_slowly)
    run = TrackedRun(settings, identity)
    wait_until(lambda: "Cannot upload to MLflow" in caplog.text, 30)
    run.close("FINISHED")
    # A journal that fails is not tried again in this process.
    assert "Cannot upload the records" not in caplog.text


def test_closing_a_run_does_not_wait_for_other_journals(settings, identity, monkeypatch):
    left = Journal.create(settings.journals, RunIdentity("b" * 32, "tests", "left", 0))
    for _ in range(30):
        left.add("tags", values={"a": "b"})
    original = MlflowRun.upload

    def upload_slowly(mlflow_run, records):
        time.sleep(records[0]["kind"] == "tags")
        return original(mlflow_run, records)

    monkeypatch.setattr(MlflowRun, "upload", upload_slowly)
    run = TrackedRun(settings, identity)
    wait_until(lambda: left.upload_state(settings.shown_server).offset > 0, 60)
    log_steps(run, [1])
    started = time.monotonic()
    run.close("FINISHED")
    assert time.monotonic() - started < 15
    assert Journal.create(settings.journals, identity).is_uploaded(settings.shown_server)
    assert not left.is_uploaded(settings.shown_server)


def test_journals_of_another_server_are_pending_only_on_request(settings, identity):
    old = Journal.create(settings.journals, identity)
    old.add("tags", values={})
    old.save_upload_state(UploadState("http://elsewhere", "run", 1))
    new = Journal.create(settings.journals, RunIdentity("b" * 32, "tests", "never sent", milliseconds()))
    new.add("tags", values={})
    assert [str(one) for one in pending_journals(settings)] == ["never sent"]
    assert [str(one) for one in pending_journals(settings, include_other_servers=True)] == ["a run", "never sent"]


def test_a_journal_that_cannot_be_written_gives_one_warning_and_a_later_tick_fills_the_gap(
    settings, identity, monkeypatch, caplog
):
    run = TrackedRun(settings, identity)
    journal = Journal.create(settings.journals, identity)
    log_steps(run, [1])

    def fail(*arguments, **values):
        raise DiskFullError("the disk of the journal must have room")

    monkeypatch.setattr(Journal, "add", fail)
    log_steps(run, [2, 3])
    run.log_file(settings.journals / "not there")
    monkeypatch.undo()
    # The hook logs all ticks that the run does not have yet.
    log_steps(run, [2, 3, 4])
    run.close("FINISHED")
    run_id = journal.upload_state(settings.shown_server).run_id
    assert steps_at(settings.server, run_id) == [1, 2, 3, 4]
    assert caplog.text.count("Cannot log") == 1


def test_a_run_that_another_process_writes_cannot_be_opened(settings, identity, monkeypatch):
    monkeypatch.setattr("kedro_dcgan.tracking.run._LOCK_TIMEOUT", 0.1)
    run = TrackedRun(settings, identity)
    with pytest.raises(TrackingError, match="another process writes it"):
        TrackedRun(settings, identity)
    addition = TrackedRun(settings, replace(identity, must_exist=True))
    addition.log_tags({"quality": "good"})
    wait_until(lambda: Journal.create(settings.journals, identity).upload_state(settings.shown_server).run_id, 60)
    addition.close("FINISHED")
    run_id = Journal.create(settings.journals, identity).upload_state(settings.shown_server).run_id
    stored = mlflow.MlflowClient(settings.server).get_run(run_id)
    # An evaluation does not end the training.
    assert (stored.data.tags["quality"], stored.info.status) == ("good", "RUNNING")
    run.close("FAILED")
    assert mlflow.MlflowClient(settings.server).get_run(run_id).info.status == "FAILED"


def test_sample_grids_are_not_logged_twice_after_a_kill(settings, identity, tmp_path):
    picture = tmp_path / "grid.png"
    Image.new("L", (8, 8)).save(picture)
    for steps in ([0, 10, 20], [10, 20, 30]):
        run = TrackedRun(settings, identity)
        for step in steps:
            run.log_image(picture, "samples", step)
        run.close("FINISHED")
    logged = [
        one["step"] for one, _ in Journal.create(settings.journals, identity).records() if one["kind"] == "picture"
    ]
    assert logged == [0, 10, 20, 30]


def test_system_metrics_are_logged_during_training(tmp_path, settings, identity):
    run = TrackedRun(settings.model_copy(update={"system_metrics_seconds": 0.1}), identity)
    journal = Journal.create(settings.journals, identity)
    wait_until(lambda: len([one for one, _ in journal.records() if one.get("is_of_system")]) > 2, 60)
    run.close("FINISHED")
    client = mlflow.MlflowClient(settings.server)
    run_id = journal.upload_state(settings.shown_server).run_id
    history = client.get_metric_history(run_id, "system/cpu_utilization_percentage")
    assert [metric.step for metric in history] == list(range(len(history)))
    assert "system/system_memory_usage_megabytes" in client.get_run(run_id).data.metrics


def test_gpu_metrics_are_logged_if_there_are_gpus(monkeypatch):
    answers = {
        "nvmlInit": None,
        "nvmlDeviceGetCount": 2,
        "nvmlDeviceGetHandleByIndex": "handle",
        "nvmlDeviceGetMemoryInfo": SimpleNamespace(used=2_000_000, total=8_000_000),
        "nvmlDeviceGetUtilizationRates": SimpleNamespace(gpu=90),
        "nvmlDeviceGetPowerUsage": 100_000,
        "nvmlDeviceGetEnforcedPowerLimit": 400_000,
    }
    for name, answer in answers.items():
        monkeypatch.setattr(pynvml, name, lambda *arguments, answer=answer: answer)
    samples = []
    metrics = SystemMetrics(lambda kind, **values: samples.append(values), 7, 0.01)
    wait_until(lambda: len(samples) > 1, 30)
    metrics.finish()
    assert [one["step"] for one in samples][:2] == [7, 8]
    assert samples[0]["values"]["system/gpu_1_utilization_percentage"] == 90
    assert samples[0]["values"]["system/gpu_0_power_usage_watts"] == 100


def test_closing_a_run_without_any_server_takes_less_than_30_seconds(tmp_path, identity):
    settings = settings_at(f"http://127.0.0.1:{free_port()}", tmp_path)
    started = time.monotonic()
    TrackedRun(settings, identity).close("KILLED")
    assert time.monotonic() - started < 30
