"""The pipelines, the catalog, the parameter models and dvc.yaml agree."""

import copy
import inspect
import typing
from pathlib import Path

import grimp
import pytest
import yaml
from pydantic import BaseModel

import kedro_dcgan.datasets
from kedro_dcgan.config import Parameters
from kedro_dcgan.pipeline_registry import register_pipelines

PROJECT = Path(__file__).parents[1]
CATALOG = yaml.safe_load((PROJECT / "conf/base/catalog.yml").read_text())
STAGES = yaml.safe_load((PROJECT / "dvc.yaml").read_text())["stages"]
PIPELINES = register_pipelines()
# Training and the selection of a sweep write the same results.
ALL = [PIPELINES["__default__"], PIPELINES["trials"], PIPELINES["selection"], PIPELINES["explore"]]
NODES = [node for pipeline in ALL for node in pipeline.nodes]
PIPELINE_NAMES = ("ingestion", "preprocessing", "training", "evaluation", "export")
# Not outputs of DVC, which would delete them before a stage starts: they accumulate over runs.
KEPT = {"resume_checkpoint", "checkpoint", "reference_features"}
IN_MEMORY = {name for name, entry in CATALOG.items() if entry["type"] == "MemoryDataset"}


def datasets(names):
    return {name for name in names if not name.startswith("params:")}


def paths(names):
    return {CATALOG[name].get("path") or CATALOG[name]["filepath"] for name in names}


def stage_paths(entries):
    return {entry if isinstance(entry, str) else next(iter(entry)) for entry in entries}


def test_default_pipeline_contains_the_five_stages():
    assert set(PIPELINES["__default__"].nodes) == {node for name in PIPELINE_NAMES for node in PIPELINES[name].nodes}
    assert {node.name for node in PIPELINES["train"].nodes} == {
        "ingestion.scan_images",
        "ingestion.build_manifest",
        "ingestion.report_dataset",
        "preprocessing.prepare_images",
        "training.start_training",
        "training.train_generator",
    }
    # The names without their stage, which `--nodes` accepts, must be unambiguous.
    short = [node.func.__name__ for node in NODES]
    assert len(set(short)) == len(short)


def test_every_registered_pipeline_is_checked_here():
    # All nodes of a pipeline, whatever the stages that it combines, are in `ALL`.
    assert {node.name for name in PIPELINES for node in PIPELINES[name].nodes} == {node.name for node in NODES}
    stages = {file.parent.name for file in (PROJECT / "src/kedro_dcgan/pipelines").glob("*/pipeline.py")}
    assert stages == {node.namespace for node in NODES}


def test_explore_reads_what_a_training_leaves_and_is_run_on_request_only():
    explore = PIPELINES["explore"]
    assert explore.inputs() == {"exported_generator", "resume_checkpoint", "images"}
    assert explore.inputs() - PIPELINES["__default__"].all_outputs() == {"resume_checkpoint"}
    assert CATALOG["resume_checkpoint"] == CATALOG["checkpoint"]
    for name in set(PIPELINES) - {"explore"}:
        assert not {node.name for node in PIPELINES[name].nodes} & {node.name for node in explore.nodes}
        # Otherwise both would write it.
        assert not PIPELINES[name].all_outputs() & explore.all_outputs()
    # Checkpoints are no output of DVC, so that no stage can depend on them.
    assert "explore" not in STAGES


def test_kedro_viz_shows_one_box_per_stage_and_the_layers_of_the_data():
    # The order of the layers is that of the data flow. Kedro-Viz shows none if they form a cycle.
    from kedro.io import DataCatalog
    from kedro_viz.data_access.managers import DataAccessManager

    viz = DataAccessManager()
    viz.add_catalog(DataCatalog.from_config(copy.deepcopy(CATALOG)), dict(PIPELINES))
    viz.add_pipelines(dict(PIPELINES))
    tree = viz.create_modular_pipelines_tree_for_registered_pipeline("__default__")
    assert set(tree) == {"__root__", *PIPELINE_NAMES}
    assert {child.id for child in tree["__root__"].children if child.type == "modularPipeline"} == set(PIPELINE_NAMES)
    layers = viz.get_sorted_layers_for_registered_pipeline("__default__")
    assert set(layers) == {"raw", "intermediate", "primary", "feature", "models", "model_output", "reporting"}
    flow = ["raw", "intermediate", "primary", "models", "reporting"]
    assert [layer for layer in layers if layer in flow] == flow


@pytest.mark.parametrize("name", sorted(CATALOG))
def test_layer_of_a_dataset_is_that_of_its_folder(name):
    path = CATALOG[name].get("path") or CATALOG[name].get("filepath") or ""
    folder = path.split("/")[1].partition("_")[2] if path.startswith("data/") else ""
    expected = {"": ("raw", "models"), "primary": ("primary", "intermediate")}.get(folder, (folder,))
    assert CATALOG[name]["metadata"]["kedro-viz"]["layer"] in expected


def test_every_dataset_is_in_the_catalog_and_every_entry_is_used():
    assert set.union(*(datasets(pipeline.datasets()) for pipeline in ALL)) == set(CATALOG)


@pytest.mark.parametrize("node", NODES, ids=lambda node: node.name)
def test_every_parameter_has_its_model_as_type_hint(node):
    # An unresolvable hint would silently disable Kedro's validation.
    hints = typing.get_type_hints(node.func)
    arguments = list(inspect.signature(node.func).parameters)
    for argument, name in zip(arguments, node.inputs, strict=True):
        if name.startswith("params:"):
            assert issubclass(hints[argument], BaseModel)
            assert hints[argument] is Parameters.model_fields[name.removeprefix("params:")].annotation


@pytest.mark.parametrize("node", NODES, ids=lambda node: node.name)
def test_node_and_argument_names_match_the_catalog(node):
    assert node.name == f"{node.namespace}.{node.func.__name__}"
    assert [name.removeprefix("params:") for name in node.inputs] == list(inspect.signature(node.func).parameters)


def test_every_pipeline_has_a_dvc_stage():
    assert set(STAGES) == {"digits", "parameters", *PIPELINE_NAMES}
    for name in PIPELINE_NAMES:
        assert STAGES[name]["cmd"].startswith(f"kedro run --env=${{preset}} --pipelines={name}")
    assert {"conf/base", "conf/${preset}"} < set(STAGES["parameters"]["deps"])


@pytest.mark.parametrize("name", PIPELINE_NAMES)
def test_dvc_outs_match_the_pipeline_outputs(name):
    expected = datasets(PIPELINES[name].all_outputs()) - KEPT - IN_MEMORY
    stage = STAGES[name]
    assert stage_paths(stage.get("outs", []) + stage.get("metrics", [])) == paths(expected)


@pytest.mark.parametrize("name", PIPELINE_NAMES)
def test_dvc_deps_match_the_pipeline_inputs(name):
    inputs = datasets(PIPELINES[name].inputs()) - KEPT
    expected = paths(inputs - {"raw_images"}) | ({"${ingestion.source}"} if "raw_images" in inputs else set())
    deps = {dep for dep in STAGES[name]["deps"] if not dep.startswith("src/")}
    assert deps == expected


@pytest.mark.parametrize("name", PIPELINE_NAMES)
def test_dvc_params_match_the_pipeline_parameters(name):
    parameters = {key.removeprefix("params:") for key in PIPELINES[name].inputs() if key.startswith("params:")}
    if name == "ingestion":
        # Another licence must not read all images again.
        fields = Parameters.model_fields["ingestion"].annotation.model_fields.keys() - {"licence", "source_url"}
        parameters = parameters - {"ingestion"} | {f"ingestion.{field}" for field in fields}
    assert STAGES[name]["params"] == [{STAGES["parameters"]["outs"][0]: sorted(parameters)}]


@pytest.mark.parametrize("name", PIPELINE_NAMES)
def test_dvc_deps_match_the_imported_code(name):
    deps = {dep for dep in STAGES[name]["deps"] if dep.startswith("src/")}
    imported = {file_of(module) for module in modules_of(name)}
    assert {file for file in imported if not any(covers(dep, file) for dep in deps)} == set()
    assert {dep for dep in deps if not any(covers(dep, file) for file in imported)} == set()


def modules_of(name):
    """Return the modules of the package that a stage imports, through its nodes and datasets."""
    graph = grimp.build_graph("kedro_dcgan", exclude_type_checking_imports=True)
    types = {CATALOG[dataset]["type"] for dataset in datasets(PIPELINES[name].datasets())}
    ours = [type_.removeprefix("kedro_dcgan.datasets.") for type_ in types if type_.startswith("kedro_dcgan")]
    own = {getattr(kedro_dcgan.datasets, dataset).__module__ for dataset in ours}
    own |= graph.find_descendants(f"kedro_dcgan.pipelines.{name}")
    return own.union(*map(graph.find_upstream_modules, own))


def file_of(module):
    """Return the path of a module in the project."""
    path = PROJECT / "src" / Path(*module.split("."))
    path = path / "__init__.py" if path.is_dir() else path.with_suffix(".py")
    return str(path.relative_to(PROJECT))


def covers(dep, file):
    """Tell whether a DVC dependency (a file or a folder) contains a file."""
    return file == dep or file.startswith(f"{dep}/")
