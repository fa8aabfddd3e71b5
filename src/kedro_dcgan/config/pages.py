"""The reference pages of the parameters, in `docs/reference/parameters/`, generated from the models and from `conf/`.

There is a page for each top-level key, one for the groups of training, and one with the values of the presets.
"""

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import reduce
from operator import getitem
from pathlib import Path
from typing import Any

import yaml

from kedro_dcgan.config import Parameters

FOLDER = "docs/reference/parameters"
# In the order in which the pages show them. Other folders of conf/ are those of a user.
PRESETS = ("images64", "paper", "faces64", "digits28", "notebook28", "simpsons200", "experiment64", "smoke")

_BOUNDS = {"exclusiveMinimum": ">", "minimum": ">=", "exclusiveMaximum": "<", "maximum": "<="}
# Top-level keys whose groups have a page of their own, because one page would be too long.
_GROUPS_APART = {"training": "training-groups.md"}
_GENERATED = (
    "<!-- Generated from src/kedro_dcgan/config by `python -m kedro_dcgan.config`: change a description there. -->"
)
_INDEX = f"""\
{_GENERATED}

# Parameters

A value comes from the first of these that sets it:

1. `--params` of the command;
2. the folder of `--env`, such as a [preset](../presets.md) ([values](presets.md)); without `--env`, `conf/local`, if it
   exists. Kedro reads one of the two: with `--env`, it ignores `conf/local`;
3. `conf/base`, which has all defaults.

```console
$ kedro run --env=images64 --params training.epochs=10,training.ema.half_life=10000
$ kedro dcgan parameters --env=images64   # prints the values of a preset
```

A misspelt key, a value of another type or one out of range ends the run before any work, with a line that names the
parameter, its rule and the value. Editors with a YAML language server complete and validate the parameter files with
`conf/parameters.schema.json`.

"""
_PRESETS_PAGE = f"""\
{_GENERATED}

# Values of the presets

The parameters that each [preset](../presets.md) changes, with the default of `conf/base` in brackets.

"""


def described_fields(schema: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Return the schema of each parameter and group, by dotted key."""
    return dict(_fields(schema, schema))


def _fields(schema: dict[str, Any], group: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    for name, field in group["properties"].items():
        if "$ref" in field:
            subgroup = schema["$defs"][field["$ref"].rpartition("/")[2]]
            yield f"{prefix}{name}", {**subgroup, **field}
            yield from _fields(schema, subgroup, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", field


def type_and_range(field: dict[str, Any]) -> tuple[str, str]:
    """Return the type of a parameter in words, and its bounds, with the unit, or its choices."""
    type_, range_ = _type_and_range(field)
    return type_, f"{range_} {field.get('unit', '')}".strip()


def _type_and_range(field: dict[str, Any]) -> tuple[str, str]:
    if "anyOf" in field:
        types, ranges = zip(*map(_type_and_range, field["anyOf"]), strict=True)
        return " or ".join(types), ", ".join(filter(None, ranges))
    if field["type"] == "array":
        items = field.get("prefixItems") or [field["items"]]
        type_, range_ = _type_and_range(items[0])
        count = f"{len(items)} " if "prefixItems" in field else ""
        return f"list of {count}{'names' if type_ == 'text' else f'{type_}s'}", range_
    type_, choices = field["type"], field.get("enum", [field["const"]] if "const" in field else [])
    bounds = {name: field[name] for name in _BOUNDS if name in field}
    numbers = {name: "2^63" if bound == 2**63 else f"{bound:.15g}" for name, bound in bounds.items()}
    if "minimum" in numbers and "maximum" in numbers:
        range_ = f"{numbers['minimum']} to {numbers['maximum']}"
    else:
        range_ = " and ".join(f"{_BOUNDS[name]} {number}" for name, number in numbers.items())
    return "text" if type_ == "string" else type_, range_ or ", ".join(map(str, choices))


def parameter_pages(conf: Path, fields: Mapping[str, dict[str, Any]]) -> dict[str, str]:
    """Return the text of each page by its name in `FOLDER`; `conf` is the folder with the presets."""
    defaults = _values_of(conf / "base")
    pages = {}
    for top in Parameters.model_fields:
        groups = [top, *(key for key, field in fields.items() if key.startswith(f"{top}.") and "properties" in field)]
        own, *others = (_section(key, fields, defaults) for key in groups)
        if apart := _GROUPS_APART.get(top):
            pages[apart] = "\n".join([f"{_GENERATED}\n\n# Groups of {top}\n", *others])
            links = ", ".join(f"[`{key}`]({apart}#{key.replace('.', '')})" for key in groups[1:])
            others = [f"These groups are on another page: {links}.\n"]
        pages[f"{top}.md"] = "\n".join([f"{_GENERATED}\n", own.removeprefix("#"), *others])
    keys = [(f"[`{top}`]({top}.md)", fields[top]["description"]) for top in Parameters.model_fields]
    pages["index.md"] = _INDEX + table(("key", "parameters"), keys)
    pages["presets.md"] = _PRESETS_PAGE + _tables_of_presets(conf, fields, defaults)
    return pages


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a Markdown table; `|` in a cell is escaped."""
    lines = [header, ["---"] * len(header), *rows]
    return "".join(f"| {' | '.join(cell.replace('|', '&#124;') for cell in line)} |\n" for line in lines)


def _section(group: str, fields: Mapping[str, dict[str, Any]], defaults: Mapping[str, Any]) -> str:
    """Return a heading, the description and the parameters of a group, without those of its own groups."""
    rows = []
    for key, field in fields.items():
        parent, _, name = key.rpartition(".")
        if parent == group and "properties" not in field:
            rows.append((f"`{name}`", f"{_linked(field['description'])}<br>{_facts(field, _value(defaults, key))}"))
    return f"## {group}\n\n{fields[group]['description']}\n\n{table(('parameter', 'description'), rows)}"


def _facts(field: dict[str, Any], default: Any) -> str:
    """Return type, range and default on one line: a column for each would be too narrow on a phone."""
    type_, range_ = type_and_range(field)
    return f"*{': '.join(filter(None, (type_, range_)))} · default {_shown(default)}*"


def _linked(description: str) -> str:
    return re.sub(r"\(docs/([\w/-]+)\.md\)", r"([more](../../\1.md))", description)


def _tables_of_presets(conf: Path, fields: Mapping[str, dict[str, Any]], defaults: Mapping[str, Any]) -> str:
    order = list(fields)

    def place(key: str) -> int:
        # A key within `sweep.space` is part of that parameter.
        return order.index(key) if key in fields else place(key.rpartition(".")[0])

    sections = []
    for preset in PRESETS:
        values = dict(_flat(_values_of(conf / preset)))
        changed = [key for key, value in values.items() if value != _value(defaults, key)]
        rows = [
            (f"`{key}`", f"{_shown(values[key])} ({_shown(_value(defaults, key))})")
            for key in sorted(changed, key=lambda key: (place(key), key))
        ]
        sections.append(f"## {preset}\n\n{table(('parameter', 'value'), rows)}")
    return "\n".join(sections)


def _values_of(folder: Path) -> dict[str, Any]:
    files = sorted(folder.glob("parameters_*.yml"))
    return {key: value for file in files for key, value in yaml.safe_load(file.read_text(encoding="utf-8")).items()}


def _flat(group: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in group.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", value


def _value(values: Mapping[str, Any], key: str) -> Any:
    return reduce(getitem, key.split("."), values)


def _shown(value: Any) -> str:
    return f"`{value if isinstance(value, str) else json.dumps(value)}`"
