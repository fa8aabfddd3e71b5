"""`kedro dcgan profile`: where a step's time goes, and a trace that a browser opens."""

import json

from conftest import copy_project


def test_profile_prints_the_parts_of_a_step_and_writes_a_trace(tmp_path):
    project = copy_project(tmp_path / "kedro-dcgan")
    result = project.kedro("dcgan", "profile", "--env=smoke", "--steps=2", "--trace=trace.json")
    # First, what the calibration has found.
    lines = [line for line in result.stdout.splitlines() if "calibrated" not in line]
    assert lines[0].startswith("32x32x1 · batches of 16 · float32 on CPU (")
    assert {"data", "fakes", "discriminator", "generator", "optimisers", "logging"} <= {
        line.split()[0] for line in lines
    }
    assert "of what matrix products reach here" in result.stdout
    assert not result.stderr
    events = json.loads((project.path / "trace.json").read_text())["traceEvents"]
    assert {"discriminator", "generator"} <= {event.get("name") for event in events}
