"""What the doctor prints and writes: facts, choices, checks and speeds, in any combination of parts."""

import json
import os
import re
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import cgroups
import pytest
import torch

import kedro_dcgan
from kedro_dcgan import limits
from kedro_dcgan.doctor import CHECK_NAMES, PARTS, examination, machine
from kedro_dcgan.doctor.__main__ import main
from kedro_dcgan.doctor.choices import Choices
from kedro_dcgan.doctor.examination import Examination
from kedro_dcgan.doctor.isolation import CheckFailed, Skipped, outcome_of
from kedro_dcgan.doctor.machine import machine_facts
from kedro_dcgan.doctor.report import FACTS, Report
from kedro_dcgan.doctor.speed import CELEBA, CompiledSpeed, EpochSpeed, FeatureSpeed, StepSpeed
from kedro_dcgan.doctor.trainings import Subject
from kedro_dcgan.training.fast.execution import Calibration

CALIBRATION = Calibration("cpu", "", "float32", 1)
SOURCE = Path(kedro_dcgan.__file__).parents[1]
# The frameworks, and what else a bare machine lacks.
MISSING = (
    "kedro", "kedro_datasets", "mlflow", "dvc", "click", "imagecodecs", "optuna", "torch_fidelity", "av", "jinja2",
    "matplotlib", "onnx", "onnxruntime", "starlette", "uvicorn", "sklearn", "omegaconf",
)  # fmt: skip


@pytest.fixture
def simulated(monkeypatch):
    """Replace everything slow: choices, checks and measurements. Return the arguments of the timed steps."""
    timed = []

    def steps(subject, calibration, batch_size, rounds):
        timed.append((batch_size, rounds))
        return StepSpeed(batch_size, 100.0 + batch_size, 50.0, 2.0 + batch_size / 50, 0.5, 1e12, CALIBRATION)

    monkeypatch.setattr(examination, "run_isolated", lambda function, *given, seconds: outcome_of(function, *given))
    monkeypatch.setattr(examination, "on_idle_cores", lambda function, *given: function(*given))
    monkeypatch.setattr(examination, "choose", lambda subject, _: Choices(CALIBRATION, {"device": "cpu: no GPU"}))
    monkeypatch.setattr(examination, "measure_features", lambda subject: FeatureSpeed(120.0))
    monkeypatch.setattr(examination, "measure_steps", steps)
    monkeypatch.setattr(examination, "CHECKS", dict.fromkeys(CHECK_NAMES, lambda subject: "all equal"))
    return timed


def test_duration_is_in_whole_minutes_and_seconds():
    assert Report(datetime.now(UTC), 118.4, []).summary() == "nothing was checked in 1 min 58 s"


def test_lines_say_what_was_found(simulated, capsys):
    assert main([]) == 0
    printed = capsys.readouterr().out
    assert re.search(r"^This machine\n  processor ", printed, re.MULTILINE)
    assert re.search(r"^  device +cpu: no GPU$", printed, re.MULTILINE)
    assert len(re.findall(r"^✓ \w+ +all equal  \[\d\.\d s\]$", printed, re.MULTILINE)) == len(CHECK_NAMES)
    assert re.search(r"^✓ batch 128 +228 images/s, 4\.6x pytorch/examples \(50\), 50% of matrix", printed, re.MULTILINE)
    assert re.search(rf"^✓ CelebA epoch +3 minutes for {CELEBA:,} images, computed", printed, re.MULTILINE)
    assert "done          14 passed in 0 min " in printed


def test_failure_is_in_all_forms_of_the_report(simulated, capsys, monkeypatch, tmp_path):
    def fail(subject):
        raise CheckFailed("the weights differ")

    def skip(subject):
        raise Skipped("two cores are needed")

    def break_down(subject):
        raise RuntimeError("CUDA error")

    checks = {"resume": fail, "ranks": skip, "memory": break_down}
    monkeypatch.setattr(examination, "CHECKS", {**examination.CHECKS, **checks})
    assert main(["--output", str(tmp_path / "report")]) == 1
    printed = capsys.readouterr().out
    text = (tmp_path / "report/doctor.txt").read_text(encoding="utf-8")
    for shown in (printed, text):
        assert re.search(r"^✗ resume +the weights differ", shown, re.MULTILINE)
        assert re.search(r"^– ranks +two cores are needed", shown, re.MULTILINE)
        assert "in break_down" in shown
        assert "11 passed, 2 failed, 1 skipped" in shown
    content = json.loads((tmp_path / "report/doctor.json").read_text(encoding="utf-8"))
    assert content["failed"] == ["resume", "memory"]
    assert content["checks"]["resume"] | {"seconds": 0} == {
        "status": "failed", "summary": "the weights differ", "seconds": 0
    }  # fmt: skip
    assert content["speed"]["batch 512"]["value"]["ours"] == 612
    # To be attached to an issue: nobody's name, and no path of the project.
    assert str(Path.home()) not in json.dumps({part: content[part] for part in ("machine", "choices")})


def test_speeds_are_left_out_when_time_is_over(simulated, capsys):
    assert main(["--only", "speed", "--minutes", "0.01"]) == 0
    printed = capsys.readouterr().out
    # The smallest batch is always timed.
    assert [batch_size for batch_size, _ in simulated] == [64]
    assert re.search(r"^– batch 512 +would take \d+ s, and 0 s are left \(--minutes\)$", printed, re.MULTILINE)
    assert main(["--only", "speed", "--minutes", "60"]) == 0
    assert simulated[1:] == [(64, 3), (128, 3), (512, 3), (1024, 3)]


def test_parts_are_run_alone(simulated, capsys):
    assert main(["--only", "data", "--only", "memory", "--json"]) == 0
    content = json.loads(capsys.readouterr().out)
    assert list(content["checks"]) == ["data", "memory"]
    assert not {"choices", "speed"} & set(content)


def test_calibration_that_fails_is_reported_and_the_checks_still_run(simulated, capsys, monkeypatch):
    def fail(subject, is_automatic):
        raise RuntimeError("CUDA error")

    monkeypatch.setattr(examination, "choose", fail)
    assert main([]) == 1
    printed = capsys.readouterr().out
    assert re.search(r"^✗ calibration +RuntimeError: CUDA error$", printed, re.MULTILINE)
    assert printed.count("all equal") == len(CHECK_NAMES)
    assert not simulated


def test_errors_of_the_command_line(capsys, tmp_path):
    (tmp_path / "file").touch()
    assert main(["--device", "mps"]) == 1
    assert "`--device` must be a device of this machine (got 'mps')" in capsys.readouterr().err
    assert main(["--output", str(tmp_path / "file/report")]) == 1
    assert "must be writable" in capsys.readouterr().err
    for wrong in (["--minutes", "0"], ["--only", "speeds"]):
        with pytest.raises(SystemExit, match="2"):
            main(wrong)
        assert PARTS[0] in capsys.readouterr().err or wrong[0] == "--minutes"


def test_facts_are_within_the_limits_of_a_container(monkeypatch, tmp_path):
    cgroups.fake_tree(
        tmp_path,
        "0::/",
        [("/", "/sys/fs/cgroup", "cgroup2", "rw")],
        {"cpu.max": "150000 100000", "memory.max": "500000000", "memory.current": "100000000"},
    )
    monkeypatch.setattr(limits, "_ROOT", tmp_path)
    facts = machine_facts()
    assert "CPU quota: 1.5" in facts["cores"]
    assert facts["memory"].startswith("0.5 GB (limit of the container; the machine has ")


def test_gpu_is_measured_in_full_as_long_as_there_is_time(simulated, capsys, monkeypatch):
    on_gpu = Subject(torch.device("cuda"), ("float32", "bfloat16"))
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(examination, "require_device", lambda name: None)
    monkeypatch.setattr(examination, "subject_on", lambda name: on_gpu)
    monkeypatch.setattr(examination, "machine_facts", lambda: {"GPU 0": "NVIDIA H200"})
    monkeypatch.setattr(examination, "measure_epoch", lambda subject, best: EpochSpeed(4.2, best.batch_size, True))
    monkeypatch.setattr(
        examination, "measure_compiled", lambda subject, best: CompiledSpeed(best.batch_size, 61e3, 1.1)
    )
    bar = Examination()
    assert len([one for one in bar.results() if one.section not in FACTS]) == bar.length
    assert simulated == [(64, 3), (128, 3), (512, 3), (1024, 3)]
    assert main(["--minutes", "20"]) == 0
    printed = capsys.readouterr().out
    assert re.search(rf"^✓ CelebA epoch +4\.2 s for {CELEBA:,} images, batches of 1024$", printed, re.MULTILINE)
    assert re.search(r"^✓ compiled steps +61,000 images/s in batches of 1024, 1\.10x captured", printed, re.MULTILINE)
    assert main(["--minutes", "0.5"]) == 0
    assert len(re.findall("would take", capsys.readouterr().out)) == 5


def test_stopped_examination_is_reported(simulated, capsys, monkeypatch, tmp_path):
    def stop(subject):
        raise KeyboardInterrupt

    monkeypatch.setattr(examination, "CHECKS", {**examination.CHECKS, "data": stop})
    assert main(["--output", str(tmp_path)]) == 130
    assert "stopped: 4 passed in 0 min" in capsys.readouterr().out
    content = json.loads((tmp_path / "doctor.json").read_text(encoding="utf-8"))
    assert not content["complete"]
    assert list(content["checks"]) == ["gradients", "execution", "options", "resume"]


def test_fact_that_cannot_be_read_is_named(monkeypatch):
    def fail():
        raise RuntimeError("CUDA driver error: unknown error")

    monkeypatch.setitem(machine._TOPICS, "GPU", fail)
    facts = machine_facts()
    assert facts["GPU"] == "unknown: CUDA driver error: unknown error"
    assert "Python" in facts["versions"]


def test_names_of_the_checks_are_those_of_the_command_line():
    assert tuple(examination.CHECKS) == CHECK_NAMES


@pytest.mark.slow
def test_bare_machine_needs_only_the_library(tmp_path):
    # In all processes, also those of the ranks.
    (tmp_path / "sitecustomize.py").write_text(f"import sys\nsys.modules.update(dict.fromkeys({MISSING}))\n")
    parts = ("resume", "data", "ranks", "evaluation")
    options = [option for part in parts for option in ("--only", part)]
    command = [sys.executable, "-m", "kedro_dcgan.doctor", "--json", *options]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), str(SOURCE)])}
    result = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr + result.stdout
    assert [one["status"] for one in json.loads(result.stdout)["checks"].values()] == ["passed"] * 4
