"""`kedro run`: options that this project cannot honour are refused in one line, before any work starts.

Kedro ignores some of them, or fails after the first node.
"""

import copy
import sys
from collections.abc import Collection, Iterable, Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import click
import yaml
from kedro.framework.cli.project import run as kedro_run
from kedro.framework.project import pipelines, settings
from kedro.pipeline import Pipeline

from kedro_dcgan.cli.command import conf_source, config_loader, errors_in_one_line, use_conf_source, verbose_option
from kedro_dcgan.cli.params import PARAMS_HELP, split_params
from kedro_dcgan.config.yaml_files import check_yaml
from kedro_dcgan.errors import Interrupted, ParameterError, stop_on_signal
from kedro_dcgan.hooks import SweepHooks, TrackingHooks

_NODE_OPTIONS = ("node_names", "from_nodes", "to_nodes")
# Replaces Kedro's help where it is wrong or vague here.
_HELP = {
    "from_inputs": "Run the nodes that depend on these datasets.",
    "to_outputs": "Run the nodes that these datasets depend on.",
    "from_nodes": "Run these nodes and those that depend on them.",
    "to_nodes": "Run these nodes and those that they depend on.",
    "node_names": "Run only these nodes.",
    "runner": "SequentialRunner, the default; others are refused.",
    "is_async": "Refused: nodes save their results while they run.",
    "runner_params": "Refused: the runner has no parameters.",
    "env": "Preset: a folder of conf/.",
    "tags": "Run the nodes with one of these tags, for nodes of your own. May be repeated.",
    "load_versions": "DATASET:VERSION, for datasets of your own that are versioned.",
    "pipeline": "Run this pipeline.",
    "pipelines": "Run these pipelines, such as ingestion,preprocessing. Default: the project end to end.",
    "namespaces": "Run the nodes of these stages.",
    "conf_source": "Folder or archive with the configuration, instead of conf/.",
    "only_missing_outputs": "Skip the nodes whose outputs all exist already.",
}


class _Run(click.Command):
    """The command, with one-line errors."""

    def make_context(self, *arguments: Any, **options: Any) -> click.Context:
        with errors_in_one_line():
            return super().make_context(*arguments, **options)

    def invoke(self, ctx: click.Context) -> Any:
        with errors_in_one_line():
            return super().invoke(ctx)


def _run(**options: Any) -> Any:
    # On Ctrl-C or SIGTERM, end the MLflow run as KILLED, print one line and exit with 128 + the signal's number.
    try:
        with stop_on_signal(immediately=True):
            use_conf_source(options["conf_source"])
            conf_source()
            # Kedro's default, which is no preset.
            options["env"] = None if options["env"] == "local" else options["env"]
            for name in _NODE_OPTIONS:
                options[name] = _with_stages(options[name])
            _require_sequential(options["runner"], options["is_async"], options["runner_params"])
            _require_versions(options["load_versions"], options["env"])
            _require_selection(options)
            return kedro_run.callback(**options)  # type: ignore[misc]  # never None
    except Interrupted as interruption:
        for hook in settings.HOOKS:
            if isinstance(hook, SweepHooks | TrackingHooks):
                hook.interrupt()
        click.echo(str(interruption) or "stopped", err=True)
        sys.exit(interruption.exit_code)


def _with_stages(names: Sequence[str]) -> list[str]:
    # Kedro only knows a node by its stage and name: `training.train_generator`. The name is enough for ours.
    if all("." in name for name in names):
        return list(names)
    ours = ("__default__", "trials", "selection", "explore")
    known = {node.name.rpartition(".")[2]: node.name for pipeline in ours for node in pipelines[pipeline].nodes}
    return [known.get(name, name) for name in names]


def _require_sequential(runner: str | None, is_async: bool, runner_params: dict[str, Any]) -> None:
    # In other processes, the hooks would log nothing to MLflow; in other threads, no signal would stop a training.
    if runner and runner.removeprefix("kedro.runner.") != "SequentialRunner":
        raise ParameterError(
            f"`--runner` must be SequentialRunner (got {runner}): the nodes of this project must run one after another "
            "in one process. Leave the option out; ingestion and training use all cores by themselves."
        )
    if is_async or runner_params.get("is_async"):
        raise ParameterError(
            "`--async` must not be given: the nodes of this project save their results while they run. Leave it out."
        )
    if given := [name for name in runner_params if name != "is_async"]:
        raise ParameterError(
            f"`--runner-params` must be empty (got {', '.join(given)}): the runner has no parameters. Leave it out."
        )


def _require_versions(load_versions: dict[str, str], env: str | None) -> None:
    if load_versions:
        catalog = config_loader(env)["catalog"]
        for name, version in load_versions.items():
            if not catalog.get(name, {}).get("versioned"):
                raise ParameterError(
                    "`--load-versions` must name a dataset with `versioned: true` in the catalog "
                    f"(got {name}:{version}). Leave it out."
                )


def _require_selection(options: dict[str, Any]) -> None:
    """Check that the options that select nodes name existing things, and that the selected nodes can run."""
    filters = ("tags", "from_nodes", "to_nodes", "node_names", "from_inputs", "to_outputs", "namespaces")
    given = {name: options[name] for name in filters if options[name]}
    if not given:
        return
    names = [options["pipeline"]] if options["pipeline"] else options["pipelines"] or ["__default__"]
    try:
        pipeline = sum((pipelines[name] for name in names), Pipeline([]))
    except KeyError:
        # Kedro reports it, with close matches.
        return
    # Users need not type the stage of a node, as in training.train_generator.
    nodes = {node.name.rpartition(".")[2] for node in pipeline.nodes}
    namespaces = {prefix for node in pipeline.nodes for prefix in _prefixes(node.namespace or "")}
    known: dict[str, Collection[str]] = {
        "tags": {tag for node in pipeline.nodes for tag in node.tags},
        "namespaces": namespaces,
        "from_nodes": nodes,
        "to_nodes": nodes,
        "node_names": nodes,
        "from_inputs": pipeline.datasets(),
        "to_outputs": pipeline.all_outputs(),
    }
    for name, values in given.items():
        shown = [value.rpartition(".")[2] for value in values] if name in _NODE_OPTIONS else values
        _require_known(_KEDRO_OPTIONS[name].opts[0], shown, known[name])
    try:
        chosen = pipeline.filter(node_namespaces=given.pop("namespaces", None), **given)
    except ValueError:
        together = ", ".join(_KEDRO_OPTIONS[name].opts[0] for name in filters if options[name])
        raise ParameterError(
            f"`{together}` must together select a node (they select none). Nodes: {', '.join(sorted(nodes))}."
        ) from None
    catalog = config_loader(options["env"])["catalog"]
    _require_saved_inputs(chosen, pipeline, catalog)


def _prefixes(namespace: str) -> list[str]:
    parts = namespace.split(".") if namespace else []
    return [".".join(parts[:length]) for length in range(1, len(parts) + 1)]


def _require_saved_inputs(chosen: Pipeline, pipeline: Pipeline, catalog: dict[str, Any]) -> None:
    for name in sorted(chosen.inputs()):
        is_in_memory = catalog.get(name, {}).get("type", "").endswith("MemoryDataset")
        makers = [node.name.rpartition(".")[2] for node in pipeline.nodes if name in node.outputs]
        if is_in_memory and makers:
            raise ParameterError(
                f"the selected nodes must include {makers[0]} (they do not): its result `{name}` is never saved. "
                f"Select it, too, for example with --from-nodes={makers[0]}."
            )


def _require_known(option: str, given: Iterable[str], known: Collection[str]) -> None:
    for name in given:
        if name not in known:
            close = get_close_matches(name, known, n=1)
            hint = f"Did you mean {close[0]}? " if close else ""
            raise ParameterError(
                f"`{option}` must name what the selected pipelines contain (got {name}). "
                f"{hint}Known here: {', '.join(sorted(known)) or 'none'}."
            )


def _read_config_file(context: click.Context, option: click.Parameter, file: str | None) -> str | None:
    """Check the file of `--config`, then let Kedro read it; a list in it is a comma-separated option."""
    if file:
        content = Path(file).read_bytes()
        check_yaml(content, file)
        options = (yaml.safe_load(content) or {}).get(context.info_name)
        if not isinstance(options, dict):
            raise ParameterError(
                f"`{file}` must hold a group `{context.info_name}` of options (got {options!r}). Add it."
            )
        callback: Any = _KEDRO_OPTIONS["config"].callback
        callback(context, option, file)
        defaults = context.default_map or {}
        lists = {name: ",".join(map(str, value)) for name, value in defaults.items() if isinstance(value, list)}
        context.default_map = {**defaults, **lists}
    return file


_KEDRO_OPTIONS = {str(option.name): option for option in kedro_run.params}
_OWN_OPTIONS = [
    click.Option(["--params"], type=click.UNPROCESSED, default="", callback=split_params, help=PARAMS_HELP),
    click.Option(
        ["--config", "-c"],
        type=click.Path(exists=True, dir_okay=False, resolve_path=True),
        callback=_read_config_file,
        help="YAML file with options under the key `run`. Those of the command line override it.",
    ),
    verbose_option,
]
_KEPT = [copy.copy(option) for name, option in _KEDRO_OPTIONS.items() if name not in ("params", "config")]
for _option in _KEPT:
    if isinstance(_option, click.Option) and _option.name in _HELP:
        _option.help = _HELP[_option.name]
_RUN_HELP = "Run pipelines. Separate several names of pipelines, nodes, datasets or stages with commas."
run = _Run("run", params=[*_KEPT, *_OWN_OPTIONS], callback=_run, help=_RUN_HELP)
