"""The command that the summary of a run suggests, as the user has to type it."""

from types import SimpleNamespace

import pytest
from kedro.pipeline import Node, Pipeline
from projects import ROOT

from kedro_dcgan.hooks import SummaryHooks


def suggested(caplog, project, conf, env="smoke"):
    """Return the command that a run of ingestion suggests."""
    hooks = SummaryHooks()
    loader = SimpleNamespace(conf_source=str(conf), runtime_params={})
    hooks.after_context_created(SimpleNamespace(project_path=project, env=env, config_loader=loader))
    pipeline = Pipeline([Node(lambda one: one, "manifest", "dataset_report", name="report")])
    catalog = {name: SimpleNamespace(path=f"{name}.html") for name in ("manifest", "dataset_report")}
    with caplog.at_level("INFO"):
        hooks.after_pipeline_run(pipeline, catalog)
    return caplog.messages[-1].split(maxsplit=1)[1]


def test_the_project_uses_kedro(caplog):
    assert suggested(caplog, ROOT, ROOT / "conf").startswith("kedro run --env=smoke --pipelines=preprocessing")


@pytest.mark.parametrize(
    ("conf", "option"),
    [
        ("conf", ""),
        ("conf-kedro_dcgan.tar.gz", " --conf-source={folder}/conf-kedro_dcgan.tar.gz"),
        ("my conf", " '--conf-source={folder}/my conf'"),
    ],
)
def test_the_installed_package_uses_its_own_command_and_its_configuration(caplog, tmp_path, conf, option):
    expected = f"kedro-dcgan run{option.format(folder=tmp_path)} --env=smoke --pipelines=preprocessing"
    assert suggested(caplog, tmp_path, tmp_path / conf).startswith(expected)
