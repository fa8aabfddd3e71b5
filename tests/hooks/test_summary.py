"""The command that a run suggests at its end."""

from types import SimpleNamespace

import pytest

from kedro_dcgan.hooks.summary import SummaryHooks
from kedro_dcgan.tracking.journal import Journal, RunIdentity


@pytest.mark.parametrize(("is_pending", "first"), [(True, "kedro dcgan sync"), (False, "kedro dcgan ui")])
def test_the_suggested_sample_is_of_this_run_even_if_its_registration_is_pending(tmp_path, is_pending, first):
    settings = {
        "server": "http://127.0.0.1:1",
        "artifact_location": None,
        "journals": str(tmp_path),
        "experiment": "tests",
        "run_name": None,
        "system_metrics_seconds": 0,
        "ui_port": 5000,
    }
    journal = Journal.create(tmp_path, RunIdentity("0" * 32, "tests", "a run", 1))
    if is_pending:
        journal.add("generator", name="dcgan-{source}")
    hooks = SummaryHooks()
    hooks.after_context_created(SimpleNamespace(config_loader={"tracking": settings}))
    commands = hooks._next_command("exported_generator").split(" · ")
    assert commands[0] == first
    # `candidate` would be an earlier generator.
    assert commands[1].startswith("kedro dcgan sample ")
    assert "--model" not in commands[1]
