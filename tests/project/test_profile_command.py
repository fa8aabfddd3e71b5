"""`kedro dcgan profile`: the time of each part of a training step, and a trace."""

import json

from projects import copy_project


def test_profile_prints_the_time_of_each_part_and_writes_a_trace(tmp_path):
    project = copy_project(tmp_path / "kedro-dcgan")
    result = project.kedro("dcgan", "profile", "--env=smoke", "--steps=2", "--trace=trace.json")
    # The calibration logs a line first.
    lines = [line for line in result.stdout.splitlines() if "calibrated" not in line]
    assert lines[0].startswith("32x32x1 · batch size 16 · float32 on CPU (")
    assert {"data", "fakes", "discriminator", "generator", "optimisers", "logging"} <= {
        line.split()[0] for line in lines
    }
    assert "FLOP/s" in lines[-2]
    assert "% of the roofline" in lines[-2]
    assert not result.stderr
    events = json.loads((project.path / "trace.json").read_text())["traceEvents"]
    assert {"discriminator", "generator"} <= {event.get("name") for event in events}
