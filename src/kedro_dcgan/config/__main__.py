"""Write the documentation of the parameters, in the project folder: `python -m kedro_dcgan.config`.

The descriptions and constraints of the models become the comments of `conf/base/parameters_*.yml`, the pages
`docs/reference/parameters/` and the JSON schema, with which editors complete and validate all parameter files.
`tests/test_config.py` fails if one of them is stale.
"""

import json
import re
import textwrap
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from kedro_dcgan.config import Parameters
from kedro_dcgan.config.pages import FOLDER, described_fields, parameter_pages, type_and_range

SCHEMA_FILE = "conf/parameters.schema.json"

_MODELINE = "# yaml-language-server: $schema=../parameters.schema.json\n"
# Comments start at this column, or stand above the key if the line would be longer than the width.
_COLUMN, _WIDTH = 30, 120


def generated_files(project: Path) -> dict[Path, str]:
    """Return all generated files of a project with the text that each should have."""
    schema = editor_schema()
    fields = described_fields(schema)
    files = {project / SCHEMA_FILE: json.dumps(schema, indent=2) + "\n"}
    for file in sorted((project / "conf").glob("*/parameters_*.yml")):
        text = _MODELINE + file.read_text(encoding="utf-8").removeprefix(_MODELINE)
        if file.parent.name == "base":
            text = _with_comments(text, fields)
        if file.parent.name != "local":
            files[file] = text
    if (project / "docs").is_dir():
        pages = parameter_pages(project / "conf", fields)
        files |= {project / FOLDER / name: text for name, text in pages.items()}
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
        comment, range_ = field["description"], "" if "properties" in field else type_and_range(field)[1]
        # Some descriptions explain each choice themselves.
        if range_ and not all(f"{choice}:" in comment for choice in range_.split(", ")):
            comment += f" [{range_}]"
        beside = f"{code:<{_COLUMN - 1}} # {comment}"
        if len(beside) <= _WIDTH:
            lines.append(beside)
        else:
            indent = f"{key[1]}# "
            wrapper = textwrap.TextWrapper(
                _WIDTH, initial_indent=indent, subsequent_indent=indent, break_on_hyphens=False
            )
            lines += [*wrapper.wrap(comment), code]
    return "\n".join(lines) + "\n"


def write_stale(files: Mapping[Path, str]) -> None:
    """Write the files whose text has changed, and print their names."""
    for file, text in files.items():
        if not file.exists() or file.read_text(encoding="utf-8") != text:
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text, encoding="utf-8")
            print(f"wrote {file.relative_to(Path.cwd())}")


if __name__ == "__main__":
    write_stale(generated_files(Path.cwd()))
