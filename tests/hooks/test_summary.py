"""SummaryHooks: the results that a run has made, and the next command."""

import logging
import shlex
from types import SimpleNamespace

import pytest
from projects import ROOT

from kedro_dcgan.hooks.summary import SummaryHooks
from kedro_dcgan.tracking.journal import Journal, RunIdentity


@pytest.fixture
def summarise(caplog):
    """Return a function that returns the last lines of a run that saves some datasets."""
    logging.getLogger("kedro_dcgan").propagate = True

    def lines_of(*saved, env=None, project=ROOT, conf="conf", **parameters):
        caplog.clear()
        loader = SimpleNamespace(runtime_params=parameters, conf_source=str(project / conf))
        hooks = SummaryHooks()
        hooks.after_context_created(SimpleNamespace(config_loader=loader, env=env, project_path=project))
        hooks.before_pipeline_run()
        for name in saved:
            hooks.after_dataset_saved(name)
        with caplog.at_level(logging.INFO, logger="kedro_dcgan"):
            hooks.after_pipeline_run({name: SimpleNamespace(path=f"data/{name}") for name in saved})
        return "\n".join(caplog.messages)

    return lines_of


def test_run_without_a_result_says_that_there_was_nothing_to_do(summarise):
    text = summarise()
    assert "nothing to do" in text
    assert "done in" not in text
    assert "data/" not in text


def test_only_results_of_this_run_are_listed(summarise):
    text = summarise("generator", "training_start")
    assert "data/generator" in text
    assert "manifest" not in text
    assert "--pipelines=evaluation,export" in text


def test_no_command_has_to_follow_the_pages_about_the_networks(summarise):
    text = summarise("directions", "explorer_page", "discriminator_features", "discriminator_page")
    assert all(f"data/{name}" in text for name in ("directions", "explorer_page", "discriminator_page"))
    assert "next" not in text


def test_a_stage_of_dvc_leaves_the_next_command_to_dvc_up_to_the_last_one(summarise, monkeypatch):
    monkeypatch.setenv("DVC_STAGE", "training")
    text = summarise("generator", "training_start")
    assert "data/generator" in text
    assert "next" not in text
    monkeypatch.setattr(SummaryHooks, "_next_command", lambda *_: "kedro dcgan sample")
    assert "kedro dcgan sample" in summarise("exported_generator")


def test_files_of_a_copy_that_dvc_deletes_are_not_listed(summarise, tmp_path):
    text = summarise("generator", "training_start", project=tmp_path / ".dvc/tmp/exps/tmp1")
    assert "done in" in text
    assert "data/" not in text
    assert "next" not in text


def test_next_command_repeats_preset_source_and_parameters(summarise):
    given = {"source": "a, b's", "min_size": None, "workers": 2}
    text = summarise("dataset_report", env="mine", conf="/else where", ingestion=given, x={"y": [0.5, "p,q"]})
    assert "kedro run '--conf-source=/else where' --env=mine --pipelines=" in text
    # The command reads the same parameters again.

    from kedro_dcgan.cli.params import split_params

    words = shlex.split(text.partition("next")[2])
    assert split_params(None, None, words[words.index("--params") + 1]) == {
        "ingestion": given,
        "x": {"y": [0.5, "p,q"]},
    }


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


@pytest.mark.parametrize(
    ("conf", "option"),
    [
        ("conf", ""),
        ("conf-kedro_dcgan.tar.gz", " --conf-source={folder}/conf-kedro_dcgan.tar.gz"),
        ("my conf", " '--conf-source={folder}/my conf'"),
    ],
)
def test_installed_package_uses_its_own_command_and_its_configuration(summarise, tmp_path, conf, option):
    text = summarise("dataset_report", env="smoke", project=tmp_path, conf=conf)
    assert f"kedro-dcgan run{option.format(folder=tmp_path)} --env=smoke --pipelines=preprocessing" in text
