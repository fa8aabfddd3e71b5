"""Write the documentation of the parameters, in the project folder: `python -m kedro_dcgan.config`.

The descriptions and constraints of the models become the comments of `conf/base/parameters_*.yml`, the page
`docs/parameters.md` and the JSON schema, with which editors complete and validate all parameter files.
`tests/test_config.py` fails if one of them is stale.
"""

import json
import re
import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from kedro_dcgan.config import Parameters

SCHEMA_FILE, PAGE_FILE = "conf/parameters.schema.json", "docs/parameters.md"

_MODELINE = "# yaml-language-server: $schema=../parameters.schema.json\n"
# Comments start at this column, or stand above the key if the line would be longer than the width.
_COLUMN, _WIDTH = 30, 120
_BOUNDS = {"exclusiveMinimum": ">", "minimum": ">=", "exclusiveMaximum": "<", "maximum": "<="}
_INTRODUCTION = """\
# Parameters

Generated from `src/kedro_dcgan/config` by `python -m kedro_dcgan.config`: change a description there. The defaults are
the values of `conf/base`; a preset overrides some of them, and `kedro run --params training.epochs=10` overrides both.
Editors with a YAML language server complete and validate the parameter files with `conf/parameters.schema.json`.
"""


def generated_files(project: Path) -> dict[Path, str]:
    """Return all generated files of a project with the text that each should have."""
    schema = editor_schema()
    fields = dict(_fields(schema, schema))
    files = {project / SCHEMA_FILE: json.dumps(schema, indent=2) + "\n"}
    defaults: dict[str, Any] = {}
    for file in sorted((project / "conf").glob("*/parameters_*.yml")):
        text = _MODELINE + file.read_text(encoding="utf-8").removeprefix(_MODELINE)
        if file.parent.name == "base":
            defaults |= yaml.safe_load(text)
            text = _with_comments(text, fields)
        if file.parent.name != "local":
            files[file] = text
    files[project / PAGE_FILE] = _page(fields, defaults)
    return files


def editor_schema() -> dict[str, Any]:
    """Return the JSON schema of a parameter file. No key is required, because presets hold only what they change."""
    schema = Parameters.model_json_schema()
    for group in (schema, *schema["$defs"].values()):
        group.pop("required", None)
        # The title of a field only repeats its name.
        for field in group["properties"].values():
            field.pop("title", None)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema}


def _fields(schema: dict[str, Any], group: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield dotted key and schema of each group and parameter."""
    for name, field in group["properties"].items():
        if "$ref" in field:
            subgroup = schema["$defs"][field["$ref"].rpartition("/")[2]]
            yield f"{prefix}{name}", {**subgroup, **field}
            yield from _fields(schema, subgroup, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}", field


def _type_and_range(field: dict[str, Any]) -> tuple[str, str]:
    """Return the type of a parameter in words, and its bounds or choices."""
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


def _with_comments(text: str, fields: dict[str, dict[str, Any]]) -> str:
    """Replace the comments of a parameter file, except those above its first key, by the documentation of its keys."""
    lines: list[str] = []
    keys: list[str] = []
    for line in text.splitlines():
        code = re.sub(r"(^|\s+)#.*", "", line).rstrip()
        key = re.match(r"( *)(\w+):", code)
        if not key:
            lines += [line] if code or not keys else []
            continue
        keys[len(key[1]) // 2 :] = [key[2]]
        field = fields.get(".".join(keys))
        if field is None:
            # A key of the user's choice, in `sweep.space`.
            lines.append(code)
            continue
        comment, range_ = field["description"], "" if "properties" in field else _type_and_range(field)[1]
        # Some descriptions explain each choice themselves.
        if range_ and not all(f"{choice}:" in comment for choice in range_.split(", ")):
            comment += f" [{range_}]"
        beside = f"{code:<{_COLUMN - 1}} # {comment}"
        if len(beside) <= _WIDTH:
            lines.append(beside)
        else:
            indent = f"{key[1]}# "
            lines += [*textwrap.wrap(comment, _WIDTH, initial_indent=indent, subsequent_indent=indent), code]
    return "\n".join(lines) + "\n"


def _page(fields: dict[str, dict[str, Any]], defaults: dict[str, Any]) -> str:
    lines = [_INTRODUCTION]
    for key, field in fields.items():
        top, _, name = key.partition(".")
        if not name:
            lines += [f"\n## {top}\n\n{field['description']}\n"]
            lines += ["| parameter | type | range | default | description |", "|---|---|---|---|---|"]
        elif "properties" in field:
            lines.append(f"| **`{name}`** | group | | | {field['description']} |")
        else:
            default: Any = defaults
            for part in key.split("."):
                default = default[part]
            shown = default if isinstance(default, str) else json.dumps(default)
            type_, range_ = _type_and_range(field)
            lines.append(f"| `{name}` | {type_} | {range_} | `{shown}` | {field['description']} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    for path, content in generated_files(Path.cwd()).items():
        if not path.exists() or path.read_text(encoding="utf-8") != content:
            path.write_text(content, encoding="utf-8")
            print(f"wrote {path.relative_to(Path.cwd())}")
