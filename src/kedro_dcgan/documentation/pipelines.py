"""The pipelines and the datasets as Markdown, from the registered pipelines and from the catalog."""

import inspect
from collections.abc import Iterable
from importlib import import_module
from pathlib import Path
from typing import Any

import yaml

from kedro_dcgan.config.pages import table
from kedro_dcgan.pipeline_registry import register_pipelines


def describe_pipelines() -> str:
    """Return the table of the pipelines that combine stages."""
    pipelines = register_pipelines()
    combined = {name: _stages_of(name) for name in pipelines}
    rows = [(f"`{name}`", _listed(stages)) for name, stages in combined.items() if stages != [name]]
    return table(("pipeline", "stages"), rows)


def describe_nodes() -> str:
    """Return a section for each stage with a table of its nodes."""
    sections = []
    for name, pipeline in register_pipelines().items():
        if _stages_of(name) == [name]:
            purpose = _first_sentence(import_module(f"kedro_dcgan.pipelines.{name}.pipeline"))
            # Names are long: columns of their own would be too narrow on a phone.
            rows = [
                (
                    f"`{node.name.rpartition('.')[2]}`",
                    f"{_first_sentence(node.func)}<br>*{_listed(node.inputs)} → {_listed(node.outputs)}*",
                )
                for node in pipeline.nodes
            ]
            sections.append(f"## {name}\n\n{purpose}\n\n{table(('node', 'description'), rows)}")
    return "\n".join(sections)


def describe_datasets(catalog: Path) -> str:
    """Return a section for each layer of the file of the catalog, with a table of its datasets."""
    sections: dict[str, list[tuple[str, str, str, str]]] = {}
    for name, entry in yaml.safe_load(catalog.read_text(encoding="utf-8")).items():
        path = entry.get("path") or entry.get("filepath")
        row = f"`{name}`", f"`{path}`" if path else "in memory", _type_of(entry), entry["metadata"]["description"]
        sections.setdefault(entry["metadata"]["kedro-viz"]["layer"], []).append(row)
    header = ("dataset", "path", "type", "description")
    return "\n".join(f"## {layer.replace('_', ' ')}\n\n{table(header, rows)}" for layer, rows in sections.items())


def _stages_of(name: str) -> list[str]:
    return list(dict.fromkeys(str(node.namespace) for node in register_pipelines()[name].nodes))


def _listed(names: Iterable[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)


def _first_sentence(documented: Any) -> str:
    return " ".join((inspect.getdoc(documented) or "").partition("\n\n")[0].split())


def _type_of(entry: dict[str, Any]) -> str:
    # A dataset of ours may wrap one of Kedro's, which is named by its type or as a group.
    outer, inner = entry["type"].removeprefix("kedro_dcgan.datasets."), entry.get("dataset")
    wrapped = inner["type"] if isinstance(inner, dict) else inner
    return f"{outer} of {wrapped}" if wrapped else outer
