"""Nothing waits for the server: it is away, is slow or fails, and gets what it has missed once it is back."""

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

import kedro_dcgan.settings  # noqa: F401  (how MLflow is used here, retries above all)
from kedro_dcgan.errors import DiskFullError, TrackingError
from kedro_dcgan.tracking import records
from kedro_dcgan.tracking.delivery import send_all
from kedro_dcgan.tracking.journal import Journal, RunIdentity, Sent, milliseconds
from kedro_dcgan.tracking.run import TrackedRun
from kedro_dcgan.tracking.settings import TrackingSettings
from kedro_dcgan.tracking.system_metrics import SystemMetrics
from kedro_dcgan.tracking.uploader import journals_left_behind

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
    """Log so many steps; return how long the longest took, in seconds."""
    longest = 0.0
    for step in steps:
        started = time.perf_counter()
        run.log_history({"discriminator_loss": 1 / step, "generator_loss": 2 / step}, step)
        longest = max(longest, time.perf_counter() - started)
    return longest


def test_a_server_that_is_killed_and_started_again_has_everything_once(server, tmp_path, identity, caplog):
    server.start()
    settings = settings_at(server.address, tmp_path)
    run = TrackedRun(settings, identity)
    journal = Journal.of(settings.journals, identity)
    log_steps(run, range(1, STEPS))
    wait_until(lambda: journal.sent(settings.shown_server).offset > 0, 30)
    server.kill()
    with caplog.at_level(logging.WARNING, "kedro_dcgan"):
        assert log_steps(run, range(STEPS, 2 * STEPS)) < 1.0
        wait_until(lambda: "takes no records" in caplog.text, 30)
    server.start()
    log_steps(run, range(2 * STEPS, 3 * STEPS))
    run.close("FINISHED")
    run_id = journal.sent(settings.shown_server).run_id
    assert steps_at(server.address, run_id) == list(range(1, 3 * STEPS))
    assert mlflow.MlflowClient(server.address).get_run(run_id).info.status == "FINISHED"
    # One warning for all that went wrong.
    assert caplog.text.count("takes no records") == 1


def test_a_server_that_stumbles_once_at_the_end_has_everything(settings, identity, monkeypatch, caplog):
    run = TrackedRun(settings, identity)
    journal = Journal.of(settings.journals, identity)
    wait_until(lambda: journal.is_all_sent(settings.shown_server), 30)
    original, calls = records.SEND["status"], []

    def stumble(*arguments):
        calls.append(arguments)
        if len(calls) == 1:
            raise OSError("once")
        return original(*arguments)

    monkeypatch.setitem(records.SEND, "status", stumble)
    run.close("FINISHED")
    assert journal.is_all_sent(settings.shown_server)
    assert len(calls) == 2


def test_a_server_that_was_away_all_the_time_gets_the_run_from_the_next_one(server, tmp_path, identity, caplog):
    settings = settings_at(server.address, tmp_path)
    first = TrackedRun(settings, identity)
    log_steps(first, range(1, STEPS))
    started = time.monotonic()
    first.close("FINISHED")
    assert time.monotonic() - started < 30
    assert "send them with kedro dcgan sync" in caplog.text
    server.start()
    second = TrackedRun(settings, RunIdentity("b" * 32, "tests", "the next", milliseconds()))
    log_steps(second, [5])
    wait_until(lambda: all(one.is_all_sent(settings.shown_server) for one in Journal.all_in(settings.journals)), 60)
    second.close("FAILED")
    client = mlflow.MlflowClient(server.address)
    runs = client.search_runs([client.get_experiment_by_name("tests").experiment_id])
    assert {run.info.run_name: run.info.status for run in runs} == {"a run": "FINISHED", "the next": "FAILED"}
    ids = {run.info.run_name: run.info.run_id for run in runs}
    assert steps_at(server.address, ids["a run"]) == list(range(1, STEPS))
    assert all(one.is_all_sent(settings.shown_server) for one in Journal.all_in(settings.journals))


def test_a_run_whose_making_was_not_confirmed_is_not_made_again(server, tmp_path, identity):
    server.start()
    proxy = Proxy(server.address, loses_once="/api/2.0/mlflow/runs/create")
    settings = settings_at(proxy.address, tmp_path)
    run = TrackedRun(settings, identity)
    log_steps(run, [1])
    wait_until(lambda: Journal.of(settings.journals, identity).is_all_sent(settings.shown_server), 30)
    run.close("FINISHED")
    proxy.stop()
    client = mlflow.MlflowClient(server.address)
    (made,) = client.search_runs([client.get_experiment_by_name("tests").experiment_id])
    assert steps_at(server.address, made.info.run_id) == [1]


def test_the_end_waits_for_another_process_that_sends_the_same_records(settings, identity):
    held = ExitStack()
    assert held.enter_context(Journal.of(settings.journals, identity).being_sent())
    run = TrackedRun(settings, identity)
    log_steps(run, [1])
    threading.Timer(3, held.close).start()
    run.close("FINISHED")
    assert Journal.of(settings.journals, identity).is_all_sent(settings.shown_server)


@pytest.mark.parametrize(("status", "seconds"), [(500, 0), (503, 0), (401, 0), (507, 0), (200, 30)])
def test_a_server_that_fails_or_is_slow_holds_nothing_up_and_loses_nothing(
    status, seconds, tmp_path, identity, monkeypatch
):
    monkeypatch.setattr("kedro_dcgan.tracking.uploader._PATIENCE", 2.0)
    faulty = FaultyServer(status, seconds)
    settings = settings_at(faulty.address, tmp_path)
    run = TrackedRun(settings, identity)
    assert log_steps(run, range(1, STEPS)) < 1.0
    started = time.monotonic()
    run.close("FINISHED")
    assert time.monotonic() - started < 20
    journal = Journal.of(settings.journals, identity)
    assert not journal.is_all_sent(settings.shown_server)
    history = [record["step"] for record, _ in journal.records() if record["kind"] == "metrics"]
    assert history == list(range(1, STEPS))
    if seconds:
        # The slow request is still under way, and nobody else may send meanwhile.
        return
    # To another server, all of it.
    working = settings_at(f"sqlite:///{tmp_path}/mlflow.db", tmp_path)
    monkeypatch.chdir(tmp_path)
    list(send_all(journal, working))
    assert steps_at(working.server, journal.sent(working.shown_server).run_id) == list(range(1, STEPS))
    faulty.stop()


def test_a_run_that_is_killed_is_shown_as_killed_and_gone_on_with(tmp_path, settings, identity):
    code = (
        "import sys, time\n"
        "from kedro_dcgan.tracking.journal import RunIdentity\n"
        "from kedro_dcgan.tracking.run import TrackedRun\n"
        "from kedro_dcgan.tracking.settings import TrackingSettings\n"
        f"settings = TrackingSettings.model_validate_json({settings.model_dump_json()!r})\n"
        f"run = TrackedRun(settings, RunIdentity({identity.key!r}, 'tests', 'a run', {identity.created}))\n"
        "for step in range(1, 1000):\n"
        "    run.log_history({'discriminator_loss': 1 / step}, step)\n"
        "    print(step, flush=True)\n"
        "    time.sleep(0.01)\n"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) as other:
        for _ in range(30):
            other.stdout.readline()
        os.kill(other.pid, signal.SIGKILL)
    journal = Journal.of(settings.journals, identity)
    done = journal.last_step("is_history")
    assert done >= 30
    # The next run of anything says so.
    following = TrackedRun(settings, RunIdentity("b" * 32, "tests", "the next", milliseconds()))
    wait_until(lambda: journal.is_all_sent(settings.shown_server), 60)
    following.close("FINISHED")
    client = mlflow.MlflowClient(settings.server)
    run_id = journal.sent(settings.shown_server).run_id
    assert client.get_run(run_id).info.status == "KILLED"
    again = TrackedRun(settings, identity)
    assert again.last_step == done
    # What was there before the checkpoint is not logged again.
    log_steps(again, range(done - 5, done + 10))
    again.close("FINISHED")
    assert steps_at(settings.server, run_id) == list(range(1, done + 10))
    assert client.get_run(run_id).info.status == "FINISHED"


def test_a_journal_that_cannot_be_sent_holds_up_no_other_nor_the_run(settings, identity, caplog):
    journals = []
    for number, key in enumerate("abc"):
        journal = Journal.of(settings.journals, RunIdentity(key * 32, "tests", key, number))
        journal.add("tags", values={"a": "b"})
        journals.append(journal)
    # Its run must be there, and is not.
    addition = Journal.of(settings.journals, RunIdentity("d" * 32, "tests", "", 0, must_exist=True))
    addition.add("tags", values={"a": "b"})
    run = TrackedRun(settings, identity)
    wait_until(lambda: all(one.is_all_sent(settings.shown_server) for one in journals), 60)
    own = Journal.of(settings.journals, identity)
    for step in (1, 2):
        log_steps(run, [step])
        wait_until(lambda: own.is_all_sent(settings.shown_server), 60)
        # Others have their turn again.
        time.sleep(0.5)
    run.close("FINISHED")
    assert "takes no records" not in caplog.text
    assert caplog.text.count(f"Records in {addition.folder} are not sent") == 1
    assert Journal.of(settings.journals, identity).is_all_sent(settings.shown_server)


def test_what_is_measured_later_comes_after_what_the_training_had_to_tell(settings, identity, caplog):
    training = Journal.of(settings.journals, identity)
    training.add("tags", values={"quality": "old"})
    training.add("status", status="FINISHED")
    measured = TrackedRun(settings, replace(identity, must_exist=True))
    measured.log_tags({"quality": "new"})
    measured.close("FINISHED")
    assert "takes no records" not in caplog.text
    run_id = training.sent(settings.shown_server).run_id
    assert mlflow.MlflowClient(settings.server).get_run(run_id).data.tags["quality"] == "new"


def test_the_end_of_a_run_does_not_wait_for_what_others_have_left(settings, identity, monkeypatch):
    left = Journal.of(settings.journals, RunIdentity("b" * 32, "tests", "left", 0))
    for _ in range(30):
        left.add("tags", values={"a": "b"})
    monkeypatch.setitem(records.SEND, "tags", lambda *arguments: time.sleep(1))
    run = TrackedRun(settings, identity)
    wait_until(lambda: left.sent(settings.shown_server).offset > 0, 60)
    log_steps(run, [1])
    started = time.monotonic()
    run.close("FINISHED")
    assert time.monotonic() - started < 15
    assert Journal.of(settings.journals, identity).is_all_sent(settings.shown_server)
    assert not left.is_all_sent(settings.shown_server)


def test_what_another_server_was_sent_is_left_alone_unless_it_is_asked_for(settings, identity):
    old = Journal.of(settings.journals, identity)
    old.add("tags", values={})
    old.note_sent(Sent("http://elsewhere", "run", 1))
    new = Journal.of(settings.journals, RunIdentity("b" * 32, "tests", "never sent", milliseconds()))
    new.add("tags", values={})
    assert [str(one) for one in journals_left_behind(settings)] == ["never sent"]
    assert [str(one) for one in journals_left_behind(settings, with_those_elsewhere=True)] == ["a run", "never sent"]


def test_a_journal_that_cannot_be_written_is_told_once_and_the_gap_is_filled(settings, identity, monkeypatch, caplog):
    run = TrackedRun(settings, identity)
    journal = Journal.of(settings.journals, identity)
    log_steps(run, [1])

    def fail(*arguments, **values):
        raise DiskFullError("the disk of the journal must have room")

    monkeypatch.setattr(Journal, "add", fail)
    log_steps(run, [2, 3])
    run.log_file(settings.journals / "not there")
    monkeypatch.undo()
    # As the history of a training is told at each tick: all that the run does not have yet.
    log_steps(run, [2, 3, 4])
    run.close("FINISHED")
    run_id = journal.sent(settings.shown_server).run_id
    assert steps_at(settings.server, run_id) == [1, 2, 3, 4]
    assert caplog.text.count("is not told to MLflow") == 1


def test_a_run_that_another_process_writes_is_not_opened(settings, identity, monkeypatch):
    monkeypatch.setattr("kedro_dcgan.tracking.run._PATIENCE", 0.1)
    run = TrackedRun(settings, identity)
    with pytest.raises(TrackingError, match="another process writes it"):
        TrackedRun(settings, identity)
    addition = TrackedRun(settings, replace(identity, must_exist=True))
    addition.log_tags({"quality": "good"})
    wait_until(lambda: Journal.of(settings.journals, identity).sent(settings.shown_server).run_id, 60)
    addition.close("FINISHED")
    run_id = Journal.of(settings.journals, identity).sent(settings.shown_server).run_id
    told = mlflow.MlflowClient(settings.server).get_run(run_id)
    # What was measured meanwhile does not end the training.
    assert (told.data.tags["quality"], told.info.status) == ("good", "RUNNING")
    run.close("FAILED")
    assert mlflow.MlflowClient(settings.server).get_run(run_id).info.status == "FAILED"


def test_grids_that_are_made_again_after_a_kill_are_not_told_twice(settings, identity, tmp_path):
    picture = tmp_path / "grid.png"
    Image.new("L", (8, 8)).save(picture)
    for steps in ([0, 10, 20], [10, 20, 30]):
        run = TrackedRun(settings, identity)
        for step in steps:
            run.log_picture(picture, "samples", step)
        run.close("FINISHED")
    told = [one["step"] for one, _ in Journal.of(settings.journals, identity).records() if one["kind"] == "picture"]
    assert told == [0, 10, 20, 30]


def test_how_busy_the_machine_is_is_sampled_while_it_trains(tmp_path, settings, identity):
    run = TrackedRun(settings, identity, watch_system=True)
    journal = Journal.of(settings.journals, identity)
    wait_until(lambda: len([one for one, _ in journal.records() if one.get("is_of_system")]) > 2, 60)
    run.close("FINISHED")
    client = mlflow.MlflowClient(settings.server)
    run_id = journal.sent(settings.shown_server).run_id
    history = client.get_metric_history(run_id, "system/cpu_utilization_percentage")
    assert [metric.step for metric in history] == list(range(len(history)))
    assert "system/system_memory_usage_megabytes" in client.get_run(run_id).data.metrics


def test_gpus_are_watched_where_there_are_any(monkeypatch):
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
    told = []
    watching = SystemMetrics(lambda kind, **values: told.append(values), 7, 0.01)
    watching.start()
    wait_until(lambda: len(told) > 1, 30)
    watching.finish()
    assert [one["step"] for one in told][:2] == [7, 8]
    assert told[0]["values"]["system/gpu_1_utilization_percentage"] == 90
    assert told[0]["values"]["system/gpu_0_power_usage_watts"] == 100


def test_nothing_answers_at_all(tmp_path, identity):
    settings = settings_at(f"http://127.0.0.1:{free_port()}", tmp_path)
    started = time.monotonic()
    TrackedRun(settings, identity).close("KILLED")
    assert time.monotonic() - started < 30
